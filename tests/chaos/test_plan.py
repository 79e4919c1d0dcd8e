"""Does a seed say everything, and is the plan what a round needs?"""

from collections import Counter
from itertools import pairwise

import pytest
from tests.chaos.plan import EVERYWHERE, FaultKind, Kind, make_plan
from tests.chaos.system import TIMERS

from leasebox.contract.spec import parse_spec
from leasebox_worker.config import Timers


def test_a_seed_replays():
    assert make_plan(7, jobs=50, faults=10, load_s=20.0) == make_plan(7, jobs=50, faults=10, load_s=20.0)


def test_another_seed_is_another_round():
    assert make_plan(7, jobs=50, faults=10, load_s=20.0) != make_plan(8, jobs=50, faults=10, load_s=20.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_round_has_jobs_of_every_kind_in_the_order_of_their_moments(seed: int):
    plan = make_plan(seed, jobs=300, faults=10, load_s=20.0)

    assert len(plan.jobs) == 300
    assert {job.kind for job in plan.jobs} == set(Kind)
    assert all(a.at_s <= b.at_s for a, b in pairwise(plan.jobs))
    assert {job.retries for job in plan.jobs} == {0, 2}
    assert any(job.cancel_after_s is not None and job.session for job in plan.jobs)
    assert max(Counter(job.session for job in plan.jobs if job.session).values()) > 3


def test_every_spec_of_a_plan_is_one_that_clients_take():
    for job in make_plan(1, jobs=200, faults=0, load_s=1.0).jobs:
        files = {name: {"text": text} for name, text in job.spec.get("files", {}).items()}

        parse_spec({**job.spec, "files": files})


def test_every_kind_of_fault_comes_before_one_comes_again():
    faults = make_plan(1, jobs=1, faults=2 * len(EVERYWHERE), load_s=20.0).faults

    assert Counter(fault.kind for fault in faults) == dict.fromkeys(EVERYWHERE, 2)
    assert all(a.at_s < b.at_s for a, b in pairwise(faults))


def test_a_worker_that_is_stopped_holds_jobs_that_go_on_and_jobs_that_end():
    plan = make_plan(1, jobs=100, faults=len(EVERYWHERE), load_s=20.0)
    stopped = next(fault for fault in plan.faults if fault.kind is FaultKind.WORKER_STOPPED)

    baits = [job for job in plan.jobs if job.kind in (Kind.LONG, Kind.LOUD, Kind.ENDING)]
    assert [job.at_s < stopped.at_s for job in baits] == [True] * 9


def test_the_machines_engine_is_hit_only_when_it_is_named():
    assert FaultKind.ENGINE_KILLED not in EVERYWHERE


def test_the_shortened_timers_keep_their_order():
    assert Timers.model_validate(dict(TIMERS)).reclaim_s == TIMERS["reclaim_s"]
