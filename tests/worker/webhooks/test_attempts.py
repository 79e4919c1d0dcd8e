"""When is a delivery tried again, and when is it over?"""

import pytest

from leasebox_worker.webhooks.attempts import WAITS_S, Answer, wait_after

LAST = len(WAITS_S)


@pytest.mark.parametrize(
    ("answer", "attempt", "is_test", "wait_s"),
    [
        (Answer(204), 1, False, None),
        (Answer(500, "answered 500"), 1, False, 5),
        (Answer(500, "answered 500"), 2, False, 30),
        (Answer(error="cannot be connected to"), LAST, False, WAITS_S[-1]),
        (Answer(error="cannot be connected to"), LAST + 1, False, None),
        (Answer(410, "answered 410"), 1, False, None),
        (Answer(500, "answered 500"), 1, True, None),
        (Answer(429, "answered 429", retry_after_s=60), 1, False, 60),
        (Answer(429, "answered 429", retry_after_s=1), 2, False, 30),
        (Answer(429, "answered 429", retry_after_s=1e9), 1, False, WAITS_S[-1]),
    ],
)
def test_the_next_attempt(answer: Answer, attempt: int, is_test: bool, wait_s: float | None) -> None:
    assert wait_after(answer, attempt, is_test=is_test) == wait_s


def test_attempts_go_on_for_hours_and_end_within_the_day_that_a_record_is_kept() -> None:
    assert 12 * 3600 < sum(WAITS_S) < 20 * 3600
    assert list(WAITS_S) == sorted(WAITS_S)
