"""Does the model of the queue wait as the queue does?"""

import pytest
from tests.bench.queueing import Arrival, waits


@pytest.mark.parametrize(
    ("arrivals", "slots", "expected"),
    [
        pytest.param([], 1, [], id="nobody"),
        pytest.param([Arrival(1.0, "a", 5.0)], 1, [0.0], id="alone"),
        pytest.param([Arrival(0.0, "a", 2.0), Arrival(1.0, "b", 2.0)], 1, [0.0, 1.0], id="for a slot"),
        pytest.param([Arrival(0.0, "a", 2.0), Arrival(1.0, "a", 2.0)], 9, [0.0, 1.0], id="for its line"),
        pytest.param(
            [Arrival(0.0, "a", 9.0), Arrival(1.0, "a", 1.0), Arrival(2.0, "b", 1.0)],
            2,
            [0.0, 8.0, 0.0],
            id="another line goes by",
        ),
        pytest.param(
            [Arrival(0.0, "a", 4.0), Arrival(1.0, "b", 1.0), Arrival(2.0, "c", 1.0)],
            1,
            [0.0, 3.0, 3.0],
            id="first come first served",
        ),
        pytest.param([Arrival(0.0, "a", 2.0), Arrival(2.0, "b", 1.0)], 1, [0.0, 0.0], id="free when it comes"),
    ],
)
def test_a_job_waits_for_its_line_and_for_a_slot(arrivals, slots, expected):
    assert waits(arrivals, slots) == expected
