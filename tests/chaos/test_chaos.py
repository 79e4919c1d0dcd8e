"""Is nothing lost, nothing done twice, nothing stuck and nothing left behind, whatever dies at whatever moment?

A round that fails prints the command that plays the same plan again; the machine's own timing is never the same. The
short round belongs to `make test`, all of them to `make chaos`, the long ones to `make test-slow` too.

What notices that a mechanism is gone? Each was taken out by itself. A round meets the rare moment or it does not; the
other tests bring it about every time.

| taken out | a round | brought about by (in `tests/acceptance/test_node_life.py`) |
|---|---|---|
| lease check of `settle` | `stop`, seed 51: 4 wrong | `test_a_result_that_comes_too_late_changes_nothing` |
| lease check of `emit` | not in five of `stop` | `test_output_that_comes_too_late_is_dropped` |
| the guest's dead-man | not in two of `stop` | `test_a_stopped_workers_job...`, `test_a_killed_workers_program...` |
| the fence | cuts off no node alone | `test_a_partitioned_nodes_job...` |
| resend | `short`, seed 61: 46 wrong | (`tests/worker/lifecycle/test_resend.py`) |

Both lease checks are also looked at by `tests/producer/contract/scripts/test_states.py`.
"""

import pytest
from tests.chaos.conftest import Wanted
from tests.chaos.plan import EVERYWHERE, OF_REDIS, FaultKind, make_plan
from tests.chaos.round import Report, play

MIXED = ("bubblewrap", "docker")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.docker,
    pytest.mark.bubblewrap,
    pytest.mark.xdist_group("chaos"),
]


def keep_every_promise(report: Report, again: str) -> None:
    """Fail with what is wrong and the command that plays it again, not with the source of the test."""
    if report.wrong:
        pytest.fail(f"{report.text()}\n  again: {again}", pytrace=False)


@pytest.mark.timeout(600)
def test_a_short_round_of_every_fault_keeps_every_promise(wanted: Wanted, docker_engine, python_image, bwrap) -> None:
    plan = make_plan(
        wanted.seed,
        jobs=wanted.jobs or 200,
        faults=wanted.faults or 9,
        load_s=40.0,
        last=FaultKind.WORKER_GONE,
        retries=wanted.retries,
    )

    report = play(plan, MIXED, engine=docker_engine.client, within_s=240.0)

    keep_every_promise(report, wanted.again("short"))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("retries", [0, 2])
def test_a_long_round_of_every_fault_keeps_every_promise(
    wanted: Wanted, retries: int, docker_engine, python_image, bwrap
) -> None:
    kinds = (*EVERYWHERE, FaultKind.ENGINE_KILLED) if wanted.engine_too else EVERYWHERE
    jobs, faults = wanted.jobs or 1000, wanted.faults or 36
    given = retries if wanted.retries is None else wanted.retries
    plan = make_plan(
        wanted.seed,
        jobs=jobs,
        faults=faults,
        load_s=4.0 * faults,
        kinds=kinds,
        last=FaultKind.WORKER_GONE,
        retries=given,
    )

    report = play(plan, MIXED, engine=docker_engine.client, within_s=15.0 * faults + 60.0)

    keep_every_promise(report, wanted.again("long"))
    assert wanted.faults or len(report.hits) >= 30


@pytest.mark.long
@pytest.mark.timeout(900)
def test_troubles_of_redis_alone_cost_no_job(wanted: Wanted, bwrap) -> None:
    plan = make_plan(
        wanted.seed, jobs=wanted.jobs or 300, faults=wanted.faults or 20, load_s=40.0, kinds=OF_REDIS, retries=0
    )

    report = play(plan, ("bubblewrap", "bubblewrap"), engine=None, within_s=150.0)

    keep_every_promise(report, wanted.again("redis"))
    assert not [str(case) for case in report.cases if case.outcome in ("lost", "infra")]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_workers_that_stop_and_go_on_change_no_end(wanted: Wanted, docker_engine, python_image, bwrap) -> None:
    """Every stale holder's word comes too late; few other jobs, so that the baits are held when the stop comes."""
    plan = make_plan(
        wanted.seed,
        jobs=wanted.jobs or 80,
        faults=wanted.faults or 4,
        load_s=90.0,
        kinds=(FaultKind.WORKER_STOPPED,),
        retries=wanted.retries,
    )

    report = play(plan, MIXED, engine=docker_engine.client, within_s=300.0)

    keep_every_promise(report, wanted.again("stop"))
