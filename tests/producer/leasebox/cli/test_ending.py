"""Does every outcome have the exit status that CONTRACT.md section 5 says?"""

import pytest

from leasebox.cli.ending import exit_status, last_line
from leasebox.contract.result import Outcome, Result, Usage

STATUSES = {
    Outcome.OK: 0,
    Outcome.TIMEOUT: 124,
    Outcome.OOM: 137,
    Outcome.OUTPUT_LIMIT: 122,
    Outcome.DISK_LIMIT: 122,
    Outcome.PIDS_LIMIT: 122,
    Outcome.CANCELLED: 130,
    Outcome.EXPIRED: 125,
    Outcome.REJECTED: 125,
    Outcome.LOST: 125,
    Outcome.INFRA: 125,
}


@pytest.mark.parametrize(("outcome", "status"), STATUSES.items())
def test_outcomes_of_ours(outcome: Outcome, status: int):
    assert exit_status(Result(job="j", outcome=outcome, exit_code=0 if outcome is Outcome.OK else None)) == status


def test_the_programs_own_end_stays_its_own():
    assert exit_status(Result(job="j", outcome=Outcome.ERROR, exit_code=124)) == 124
    assert exit_status(Result(job="j", outcome=Outcome.KILLED, signal=11)) == 139


def test_the_start_of_the_last_line_is_all_that_went_before_the_program():
    usage = Usage(lease_s=0.5, start_s=0.25)

    assert ", start 0.750 s, " in last_line(Result(job="j", outcome=Outcome.OK, usage=usage))


def test_our_124_and_the_programs_differ_in_the_last_line():
    assert last_line(Result(job="j", outcome=Outcome.ERROR, exit_code=124)).startswith("error (exit 124), ")
    assert last_line(Result(job="j", outcome=Outcome.TIMEOUT, limit="wall")).startswith("timeout (wall limit), ")
