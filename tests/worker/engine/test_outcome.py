"""How endings are named."""

from dataclasses import replace

import pytest

from leasebox.contract.result import Outcome
from leasebox_worker.engine.outcome import name_ending
from leasebox_worker.guestlink.messages import CellError, Exited

OK = Exited("x", 0, None, None, False, 0.1, 0.1, 1, True, None)


@pytest.mark.parametrize(
    ("exited", "was_oom", "outcome", "limit"),
    [
        (OK, False, Outcome.OK, None),
        (OK, True, Outcome.OK, None),
        (replace(OK, code=3), False, Outcome.ERROR, None),
        (replace(OK, code=137), True, Outcome.OOM, "memory"),
        (replace(OK, code=None, signal=9), True, Outcome.OOM, "memory"),
        (replace(OK, code=None, signal=9), False, Outcome.KILLED, None),
        (replace(OK, code=None, signal=9, limit="wall"), False, Outcome.TIMEOUT, "wall"),
        (replace(OK, code=None, signal=9, limit="cpu"), False, Outcome.TIMEOUT, "cpu"),
        (replace(OK, code=None, signal=9, limit="silence"), False, Outcome.TIMEOUT, "silence"),
        (replace(OK, code=None, signal=9, limit="output"), False, Outcome.OUTPUT_LIMIT, "output"),
        (replace(OK, code=None, signal=15, is_cancelled=True), False, Outcome.CANCELLED, None),
    ],
)
def test_an_ending_is_named_by_the_limit_before_the_signal(
    exited: Exited, was_oom: bool, outcome: Outcome, limit: str | None
) -> None:
    ended = name_ending(exited, was_oom=was_oom)

    assert (ended.outcome, ended.limit) == (outcome, limit)


def test_an_error_of_a_cell_is_told_in_one_line() -> None:
    raised = name_ending(replace(OK, code=1, failure=CellError("KeyError", "'k'", "...")), was_oom=False)
    left = name_ending(replace(OK, code=3, failure=CellError("SystemExit", "3", "")), was_oom=False)

    assert (raised.message, left.message) == ("KeyError: 'k'", "exited with 3")
