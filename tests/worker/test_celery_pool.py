"""How long does the consumer wait after what Redis refused?"""

import pytest

from leasebox_worker.celery_pool import REFUSED_MOST_S, Refusals


@pytest.mark.parametrize(
    ("refused_at", "pauses"),
    [
        ([0.0], [0.1]),
        ([0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]),
        ([0.0, 0.1, 0.1 + 2 * REFUSED_MOST_S], [0.1, 0.2, 0.1]),
        ([0.0, 0.1, 2 * REFUSED_MOST_S], [0.1, 0.2, 0.4]),
    ],
    ids=["once", "again and again", "after a good time", "just before it"],
)
def test_pauses_grow_to_a_bound_and_begin_anew_after_a_good_time(refused_at: list[float], pauses: list[float]) -> None:
    refusals = Refusals()

    assert [refusals.pause_s(at) for at in refused_at] == pytest.approx(pauses)
