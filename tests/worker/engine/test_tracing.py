"""Which phases of an attempt are told?"""

import pytest

from leasebox_worker.engine.attempt import Times
from leasebox_worker.engine.tracing import phases


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (Times(10.0), [("settle", 10.0, 20.0)]),
        (Times(10.0, lease_s=1.0), [("lease", 10.0, 11.0), ("settle", 11.0, 20.0)]),
        (
            Times(10.0, lease_s=1.0, start_s=2.0, exited_at=18.0),
            [("lease", 10.0, 11.0), ("start", 11.0, 13.0), ("run", 13.0, 18.0), ("settle", 18.0, 20.0)],
        ),
    ],
    ids=["refused", "not started", "ended"],
)
def test_phases_follow_one_another_up_to_the_one_that_was_reached(
    times: Times, expected: list[tuple[str, float, float]]
) -> None:
    assert phases(times, 20.0) == expected
