"""How endings are named."""

from dataclasses import replace

import pytest

from leasebox.contract.result import Outcome
from leasebox_worker.drivers.base import Stats
from leasebox_worker.engine.outcome import Counted, counted, name_ending
from leasebox_worker.guestlink.messages import CellError, Exited

OK = Exited("x", 0, None, None, False, 0.1, 0.1, 1, True, None)


OOM = Counted(was_oom=True)
NO_FORK = Counted(was_refused_a_process=True)
FULL = replace(OK, is_disk_full=True)


@pytest.mark.parametrize(
    ("exited", "seen", "outcome", "limit"),
    [
        (OK, Counted(), Outcome.OK, None),
        (OK, OOM, Outcome.OK, None),
        (OK, NO_FORK, Outcome.OK, None),
        (FULL, Counted(), Outcome.OK, None),
        (replace(OK, code=3), Counted(), Outcome.ERROR, None),
        (replace(OK, code=137), OOM, Outcome.OOM, "memory"),
        (replace(OK, code=None, signal=9), OOM, Outcome.OOM, "memory"),
        (replace(OK, code=1), NO_FORK, Outcome.PIDS_LIMIT, "pids"),
        (replace(FULL, code=1), Counted(), Outcome.DISK_LIMIT, "disk"),
        (replace(OK, code=None, signal=25), Counted(), Outcome.DISK_LIMIT, "disk"),
        (replace(FULL, code=1), Counted(was_oom=True, was_refused_a_process=True), Outcome.OOM, "memory"),
        (replace(FULL, code=1, limit="output"), NO_FORK, Outcome.OUTPUT_LIMIT, "output"),
        (replace(FULL, code=1, is_cancelled=True), NO_FORK, Outcome.CANCELLED, None),
        (replace(OK, code=None, signal=9), Counted(), Outcome.KILLED, None),
        (replace(OK, code=None, signal=9, limit="wall"), OOM, Outcome.TIMEOUT, "wall"),
        (replace(OK, code=None, signal=9, limit="cpu"), Counted(), Outcome.TIMEOUT, "cpu"),
        (replace(OK, code=None, signal=9, limit="silence"), Counted(), Outcome.TIMEOUT, "silence"),
        (replace(OK, code=None, signal=9, limit="output"), Counted(), Outcome.OUTPUT_LIMIT, "output"),
        (replace(OK, code=None, signal=15, is_cancelled=True), Counted(), Outcome.CANCELLED, None),
    ],
)
def test_an_ending_is_named_by_the_limit_before_the_signal(
    exited: Exited, seen: Counted, outcome: Outcome, limit: str | None
) -> None:
    ended = name_ending(exited, seen)

    assert (ended.outcome, ended.limit) == (outcome, limit)


def test_a_limit_that_the_program_was_told_of_leaves_its_exit_code() -> None:
    assert name_ending(replace(FULL, code=3), Counted()).exit_code == 3


def test_what_happened_before_the_job_is_not_counted() -> None:
    before = Stats(1.0, 10, 100, 2, 1, 3)

    assert counted(before, before) == Counted()
    assert counted(before, replace(before, oom_kills=3)) == Counted(was_oom=True)
    assert counted(before, replace(before, pids_refused=4)) == Counted(was_refused_a_process=True)
    assert counted(before, replace(before, memory_peak_bytes=101)) == Counted(memory_peak_bytes=101)


def test_an_error_of_a_cell_is_told_in_one_line() -> None:
    raised = name_ending(replace(OK, code=1, failure=CellError("KeyError", "'k'", "...")), Counted())
    left = name_ending(replace(OK, code=3, failure=CellError("SystemExit", "3", "")), Counted())

    assert (raised.message, left.message) == ("KeyError: 'k'", "exited with 3")
