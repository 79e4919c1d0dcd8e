"""Which end of a worker does a round forgive?"""

import pytest
from tests.chaos.supervisor import MOST_RESTARTS, Verdict, verdict


@pytest.mark.parametrize(
    ("status", "restarts", "expected"),
    [
        (None, 0, Verdict.FINE),
        (None, MOST_RESTARTS, Verdict.FINE),
        (1, 0, Verdict.AGAIN),
        (75, 0, Verdict.AGAIN),
        (-11, MOST_RESTARTS - 1, Verdict.AGAIN),
        (1, MOST_RESTARTS, Verdict.WRONG),
        (0, 0, Verdict.WRONG),
        (78, 0, Verdict.WRONG),
    ],
)
def test_a_worker_that_ended_is_started_again_unless_that_cannot_help(status, restarts, expected) -> None:
    assert verdict(status, restarts) is expected
