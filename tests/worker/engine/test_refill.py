"""What a warm pool gives to jobs, what it never does, and how it gives way."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from leasebox.contract.errors import GuestProtocolError, StartFailed
from leasebox.contract.spec import Limits
from leasebox_worker.drivers.base import Driver
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.refill import Refill, Refilling, probe
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Placement, Sandbox, Sandboxes
from leasebox_worker.lifecycle.pool import Pools
from leasebox_worker.lifecycle.sweeper import Sweeper
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.policy.profiles import BUILT_IN
from leasebox_worker.telemetry.metrics import POOL

NewDeps = Callable[..., Deps]
pytestmark = pytest.mark.slow


@pytest.fixture
def new_deps(worker_node: Any, driver: Driver, placement: Placement) -> Iterator[NewDeps]:
    """Make a node with room for `bound` sandboxes that keeps `pool` of profile `default` warm."""
    made: list[Deps] = []

    def make(*, bound: int = 6, pool: int = 2, evict_after_s: float | None = None) -> Deps:
        profiles = {**BUILT_IN, "default": replace(BUILT_IN["default"], pool=pool)}
        deps = Deps(worker_node.tracker, Sandboxes(driver, placement, bound=bound), profiles, cancel_grace_s=0.2)
        sweeper = Sweeper(worker_node.redis, worker_node.runner, worker_node.keys, tombstone_ttl_s=60.0)
        pools = Pools(worker_node.redis, worker_node.runner, worker_node.keys, worker_node.tracker.identity)

        def evicts() -> bool:
            return evict_after_s is not None and sweeper.evict("n", deps.sandboxes.end_for, evict_after_s)

        deps.refill = Refill(pools, deps.sandboxes, profiles, deps.intake, Refilling(2, 2.0, evicts))
        made.append(deps)
        return deps

    yield make
    for deps in made:
        assert deps.refill is not None
        deps.refill.stop()
        deps.sandboxes.end_all()


def ready(worker_node: Any, profile: str = "default") -> list[str]:
    """Names of the warm sandboxes as Redis has them."""
    found = worker_node.redis.lrange(worker_node.keys.pool("n", "n-1", profile), 0, -1)
    return [json.loads(text)["name"] for text in found]


def fill(worker_node: Any, deps: Deps, eventually: Any, count: int = 2) -> list[str]:
    """Let the refill work until `count` are warm."""
    assert deps.refill is not None

    def is_full() -> bool:
        watch(deps)
        return len(ready(worker_node)) == count

    assert eventually(is_full, within_s=20)
    return ready(worker_node)


def watch(deps: Deps) -> None:
    assert deps.refill is not None
    deps.refill.ask()
    deps.refill.watch()


def where(worker_node: Any, job: str) -> str:
    """The sandbox that a job ran in."""
    return str(worker_node.result(job)["sandbox"])


def test_a_job_runs_in_a_warm_sandbox_which_ends_with_it_and_is_replaced(
    worker_node: Any, new_deps: NewDeps, eventually: Any
) -> None:
    deps = new_deps()
    warm = fill(worker_node, deps, eventually)
    hits = POOL.labels("default", "hit")._value.get()
    job = worker_node.submit()
    run_job(job, deps)

    assert worker_node.result(job)["stdout"] == "42\n"
    assert where(worker_node, job) == warm[0]
    assert POOL.labels("default", "hit")._value.get() == hits + 1
    assert ready(worker_node) == [warm[1]]
    again = fill(worker_node, deps, eventually)
    assert again[0] == warm[1]
    assert warm[0] not in again
    assert deps.sandboxes.count() == 2


def test_the_first_job_of_a_session_keeps_its_warm_sandbox_for_the_session(
    worker_node: Any, new_deps: NewDeps, eventually: Any
) -> None:
    deps = new_deps()
    warm = fill(worker_node, deps, eventually)
    first = worker_node.submit("s", {"code": "open('f', 'w').write('x')"})
    run_job(first, deps)
    second = worker_node.submit("s", {"code": "print(open('f').read())"})
    run_job(second, deps)

    assert [where(worker_node, job) for job in (first, second)] == [warm[0], warm[0]]
    assert worker_node.result(second)["stdout"] == "x\n"
    assert warm[0] not in fill(worker_node, deps, eventually)


def test_no_job_ever_meets_the_traces_of_another(worker_node: Any, new_deps: NewDeps, eventually: Any) -> None:
    """Three threads at once, sessions and single jobs, while the pool is refilled and emptied again and again."""
    deps = new_deps(bound=8, pool=3)
    fill(worker_node, deps, eventually, count=3)
    code = "import os\nprint(os.listdir('.'), os.listdir('/tmp'))\nopen('trace', 'w')\nopen('/tmp/trace', 'w')"
    jobs = [worker_node.submit(None if number % 3 else f"s{number}", {"code": code}) for number in range(24)]
    left, stop = queue.SimpleQueue[str](), threading.Event()
    for job in jobs:
        left.put(job)

    def run(job: str) -> None:
        eventually(lambda: run_job(job, deps), within_s=30)
        if session := worker_node.job(job)["session"]:
            deps.sandboxes.end(worker_node.session(session)["sandbox"])

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                run(left.get_nowait())

    def refill() -> None:
        while not stop.is_set():
            watch(deps)

    refiller = threading.Thread(target=refill)
    refiller.start()
    with ThreadPoolExecutor(3) as workers:
        for done in [workers.submit(work) for _ in range(3)]:
            done.result()
    stop.set()
    refiller.join()

    results = [worker_node.result(job) for job in jobs]
    assert {result["stdout"] for result in results} == {"['main.py'] []\n"}
    assert len({result["sandbox"] for result in results}) == len(jobs)
    assert not {result["sandbox"] for result in results} & set(ready(worker_node))


def test_a_warm_sandbox_that_died_is_replaced_under_the_same_claim(
    worker_node: Any, new_deps: NewDeps, eventually: Any
) -> None:
    deps = new_deps()
    warm = fill(worker_node, deps, eventually)
    dead = deps.sandboxes.find(json.dumps({"name": warm[0]}))
    assert dead is not None
    deps.sandboxes.discard(dead)
    job = worker_node.submit("s")
    run_job(job, deps)

    assert worker_node.result(job)["outcome"] == "ok"
    assert where(worker_node, job) not in warm
    assert worker_node.job(job)["claims"] == "1"
    kinds = [fields[b"type"] for _, fields in worker_node.redis.xrange(worker_node.keys.events(job))]
    assert b"session_restarted" not in kinds  # no code had run in it


@pytest.mark.parametrize("own_limits", [True, False], ids=["told by the client", "of an older client"])
def test_a_job_with_other_limits_of_the_sandbox_gets_one_of_its_own(
    worker_node: Any, new_deps: NewDeps, eventually: Any, own_limits: bool
) -> None:
    deps = new_deps()
    warm = fill(worker_node, deps, eventually)
    spec = {
        "code": "import os; print(os.statvfs('.').f_blocks * os.statvfs('.').f_bsize)",
        "limits": {"disk_bytes": 8 << 20},
    }
    job = worker_node.submit(spec=spec, own_limits=own_limits)
    run_job(job, deps)

    assert where(worker_node, job) not in warm
    assert int(worker_node.result(job)["stdout"]) == 8 << 20
    assert ready(worker_node) == (warm if own_limits else warm[1:])


def test_limits_of_the_job_alone_do_not_cost_it_the_warm_sandbox(
    worker_node: Any, new_deps: NewDeps, eventually: Any
) -> None:
    deps = new_deps()
    warm = fill(worker_node, deps, eventually)
    job = worker_node.submit(spec={"code": "1", "limits": {"timeout_s": 5}})
    run_job(job, deps)

    assert where(worker_node, job) == warm[0]


def test_the_pool_gives_way_to_a_job_that_it_cannot_serve(worker_node: Any, new_deps: NewDeps, eventually: Any) -> None:
    deps = new_deps(bound=3)
    fill(worker_node, deps, eventually)
    jobs = [worker_node.submit(f"s{number}", profile="lightweight") for number in range(3)]

    assert [run_job(job, deps) for job in jobs] == [True, True, True]
    assert ready(worker_node) == []
    assert deps.sandboxes.count() == 3
    watch(deps)
    assert deps.sandboxes.free_places() == 0


def test_a_full_node_ends_the_session_idle_longest_if_that_is_allowed(
    worker_node: Any, new_deps: NewDeps, eventually: Any
) -> None:
    deps = new_deps(bound=2, pool=0, evict_after_s=0.001)
    for name in ("old", "new"):
        run_job(worker_node.submit(name), deps)
    job = worker_node.submit("third")

    assert run_job(job, deps)
    assert worker_node.session("old")["close_reason"] == "evicted"
    assert worker_node.session("new")["state"] == "idle"
    assert deps.sandboxes.count() == 2


def test_a_full_node_whose_sessions_may_not_end_pauses_and_its_refill_makes_none(
    worker_node: Any, new_deps: NewDeps
) -> None:
    deps = new_deps(bound=2, evict_after_s=3600.0)
    for name in ("a", "b"):
        run_job(worker_node.submit(name), deps)

    assert not run_job(worker_node.submit("c"), deps)
    watch(deps)
    assert deps.intake.reasons == {Pause.FULL}
    assert deps.sandboxes.count() == 2


def test_what_a_profile_wants_no_more_is_ended(worker_node: Any, new_deps: NewDeps, eventually: Any) -> None:
    deps = new_deps(pool=0)
    assert deps.refill is not None
    place = deps.sandboxes.reserve()
    assert place is not None
    profile = BUILT_IN["default"]
    limits = effective_limits(Limits(), profile, node_cpus=2.0)
    deps.refill.offer(deps.sandboxes.make(profile, limits, {}, place), profile)  # as one taken over from before
    assert len(ready(worker_node)) == 1
    watch(deps)

    assert ready(worker_node) == []
    assert deps.sandboxes.count() == 0


def test_a_draining_node_ends_its_pool(worker_node: Any, new_deps: NewDeps, eventually: Any) -> None:
    deps = new_deps()
    fill(worker_node, deps, eventually)
    deps.intake.pause(Pause.DRAINING)
    watch(deps)

    assert ready(worker_node) == []
    assert deps.sandboxes.count() == 0


def test_nothing_is_made_before_somebody_asks(worker_node: Any, new_deps: NewDeps) -> None:
    deps = new_deps()
    assert deps.refill is not None
    deps.refill.watch()

    assert deps.sandboxes.free_places() == 6


def test_a_sandbox_that_fails_its_probe_is_not_offered(
    worker_node: Any, new_deps: NewDeps, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Sandbox) -> None:
        raise GuestProtocolError("no")

    deps = new_deps(pool=1)
    monkeypatch.setattr("leasebox_worker.engine.refill.probe", fails)
    watch(deps)

    assert eventually(lambda: deps.sandboxes.free_places() == 6)
    assert ready(worker_node) == []


def test_after_a_failed_start_the_refill_rests(
    worker_node: Any, new_deps: NewDeps, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deps, tries = new_deps(pool=1), []

    def fails(*given: Any, **_: Any) -> Sandbox:
        tries.append(given)
        raise StartFailed("no image")

    monkeypatch.setattr(deps.sandboxes, "make", fails)
    watch(deps)
    assert eventually(lambda: tries and deps.sandboxes.free_places() == 6)
    watch(deps)
    watch(deps)

    assert len(tries) == 1


def test_a_probe_that_does_not_end_well_fails(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worker.engine.test_sandboxes import make

    monkeypatch.setattr("leasebox_worker.engine.refill.CODE", b"raise SystemExit(3)")

    with pytest.raises(GuestProtocolError, match="ended 3"):
        probe(make(deps))
