"""Does a host that stood still itself wait on for the agent's word?"""

import pytest

from leasebox_worker.engine.deadline import TURN_S, Deadline


class Clock:
    """Stands where it is put."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def asked_at(deadline: Deadline, clock: Clock, *moments: float) -> list[bool]:
    """What it says at each of these seconds."""
    found = []
    for moment in moments:
        clock.now = 100.0 + moment
        found.append(deadline.is_over())
    return found


def test_it_is_over_when_its_time_has_passed():
    clock = Clock()

    assert asked_at(Deadline(3.0, clock), clock, 1.0, 2.9, 3.0) == [False, False, True]


def test_time_in_which_the_process_did_not_run_does_not_count():
    clock = Clock()
    deadline = Deadline(3.0, clock)

    assert asked_at(deadline, clock, 1.0, 41.0, 42.9, 43.1) == [False, False, False, True]
    assert deadline.excused_s == 40.0


@pytest.mark.parametrize("took_s", [0.5, 2 * TURN_S])
def test_what_others_took_is_excused_once(took_s: float):
    clock = Clock()
    deadline = Deadline(3.0, clock)
    clock.now += took_s
    deadline.excuse(took_s)

    assert asked_at(deadline, clock, took_s + 2.9, took_s + 3.1) == [False, True]
    assert deadline.excused_s == took_s


def test_time_in_which_the_job_was_held_does_not_count():
    clock = Clock()
    deadline = Deadline(3.0, clock)
    clock.now += 4.0

    assert not deadline.is_over(held_s=2.0)
    assert deadline.is_over(held_s=0.5)
