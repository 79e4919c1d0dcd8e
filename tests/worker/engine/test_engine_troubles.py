"""What jobs see of an engine that refuses, hangs, restarts or lacks an image, and of sandboxes that die."""

import os
import select
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.worker.engine.engine_proxy import EngineProxy, Mood

from leasebox.contract.spec import Limits
from leasebox_worker.drivers import docker as docker_module
from leasebox_worker.drivers.base import LABEL_INSTALLATION, ChannelClosed, EngineDown
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.engine.upkeep import upkeep
from leasebox_worker.lifecycle import reconcile
from leasebox_worker.lifecycle.reconcile import Place, Reconciler
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.telemetry.metrics import DRIFT

pytestmark = pytest.mark.slow
docker = pytest.mark.docker

ENDLESS = "import time\nprint('on', flush=True)\ntime.sleep(60)"


@pytest.fixture(params=["deps", pytest.param("docker_deps", marks=docker)])
def any_deps(request: pytest.FixtureRequest) -> Deps:
    """On bubblewrap and on Docker."""
    made: Deps = request.getfixturevalue(request.param)
    return made


def run_again(worker_node: Any, job: str, deps: Deps) -> None:
    """Run a job whose back-off is over."""
    worker_node.redis.hset(worker_node.keys.job(job), "not_before", 0)
    run_job(job, deps)


def held(worker_node: Any, deps: Deps, session: str = "s") -> Sandbox:
    found = deps.sandboxes.find(worker_node.session(session)["sandbox"])
    assert found is not None
    return found


def restarts(worker_node: Any, job: str) -> list[bytes]:
    entries = worker_node.redis.xrange(worker_node.keys.events(job))
    return [fields[b"json"] for _, fields in entries if fields[b"type"] == b"session_restarted"]


def pid_of(deps: Deps, sandbox: Sandbox) -> int:
    driver = deps.sandboxes.driver
    if isinstance(driver, docker_module.DockerDriver):
        return driver._pid(sandbox.handle)
    assert sandbox.handle.pid is not None
    return sandbox.handle.pid


def left(deps: Deps) -> list[str]:
    return [found.handle.name for found in deps.sandboxes.driver.list()]


@docker
def test_an_engine_that_refuses_closes_the_intake_and_the_job_runs_when_it_is_back(
    worker_node: Any, docker_deps: Deps, engine_proxy: EngineProxy
) -> None:
    deps, circuit = docker_deps, docker_deps.sandboxes.circuit
    circuit.changed = lambda is_down: (deps.intake.pause if is_down else deps.intake.resume)(Pause.ENGINE_DOWN)
    run_job(worker_node.submit("s"), deps)
    engine_proxy.mood = Mood.REFUSE
    job = worker_node.submit()
    run_job(job, deps)
    paused, starts, room = deps.intake.reasons, worker_node.job(job)["starts"], deps.sandboxes.reserve()
    run_again(worker_node, job, deps)  # needs a sandbox: it is not even claimed
    same = worker_node.submit("s")
    run_job(same, deps)  # has one
    engine_proxy.mood = Mood.PASS
    circuit._next_look = 0.0
    circuit.probe()
    resumed = deps.intake.reasons
    run_again(worker_node, job, deps)

    assert (paused, starts, room, resumed) == (frozenset({Pause.ENGINE_DOWN}), "1", None, frozenset())
    assert worker_node.job(same)["outcome"] == "ok"
    assert (worker_node.job(job)["outcome"], worker_node.job(job)["claims"]) == ("ok", "2")


@docker
def test_an_engine_that_hangs_holds_a_job_for_a_bounded_time(
    worker_node: Any, docker_deps: Deps, engine_proxy: EngineProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_module, "_TIMEOUT_S", 0.5)
    monkeypatch.setattr(docker_module, "_PING_TIMEOUT_S", 0.5)
    engine_proxy.mood = Mood.HANG
    job = worker_node.submit()
    runner = threading.Thread(target=run_job, args=(job, docker_deps), daemon=True)
    runner.start()
    runner.join(20.0)

    assert not runner.is_alive()
    assert (worker_node.job(job)["state"], worker_node.job(job)["starts"]) == ("queued", "1")
    assert docker_deps.sandboxes.circuit.is_open
    with pytest.raises(EngineDown):
        docker_deps.sandboxes.driver.ping()


@docker
def test_after_an_engine_restart_sessions_say_that_they_are_lost(
    worker_node: Any, docker_deps: Deps, docker_engine: Any, engine_proxy: EngineProxy, eventually: Any
) -> None:
    deps = docker_deps
    run_job(worker_node.submit("s"), deps)
    docker_engine.client.containers.get(held(worker_node, deps).handle.id).kill()
    engine_proxy.restart()

    def is_noticed() -> bool:
        deps.sandboxes.ping_all()
        return deps.sandboxes.lost.is_set()

    eventually(is_noticed)
    place = Place(docker_engine.installation, "n")
    reconciler = Reconciler(
        worker_node.redis, worker_node.runner, worker_node.keys, place, deps.sandboxes.driver, deps.sandboxes.names
    )
    assert reconciler.detach_dead().detached == 1
    job = worker_node.submit("s")
    assert worker_node.job(job)["queue"] == worker_node.keys.queue("default")
    run_job(job, deps)

    assert restarts(worker_node, job) == [b'{"reason":"lost"}']
    assert worker_node.job(job)["outcome"] == "ok"


def test_a_sandbox_that_nobody_has_is_ended_with_all_that_belongs_to_it(
    worker_node: Any, any_deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MIN_AGE_S", -5.0)
    deps = any_deps
    run_job(worker_node.submit("s"), deps)
    profile = deps.profiles["lightweight"]
    room = deps.sandboxes.reserve()
    assert room is not None
    orphan = deps.sandboxes.make(profile, effective_limits(Limits(), profile, node_cpus=1.0), {}, room)
    place = Place(deps.sandboxes.driver.list()[0].labels[LABEL_INSTALLATION], "n")
    counted = [DRIFT.labels(kind)._value.get() for kind in ("sandbox", "session")]
    reconciling, *_ = upkeep(worker_node.redis, worker_node.runner, worker_node.keys, place, deps, period_s=60.0)
    reconciling._duty()

    assert [DRIFT.labels(kind)._value.get() for kind in ("sandbox", "session")] == [counted[0] + 1, counted[1]]
    assert left(deps) == [held(worker_node, deps).name]
    assert orphan.name not in Path("/proc/mounts").read_text()
    assert [path for path in Path("/sys/fs/cgroup").glob("*/leasebox/*") if path.name == orphan.name] == []


@docker
def test_a_missing_image_ends_the_job_after_three_starts_and_names_image_and_command(
    worker_node: Any, docker_deps: Deps
) -> None:
    image = "leasebox/never-built:1"
    deps = replace(docker_deps, profiles={"default": replace(docker_deps.profiles["default"], image=image)})
    job = worker_node.submit()
    run_job(job, deps)
    first_wait = float(worker_node.job(job)["not_before"]) - float(worker_node.job(job)["claimed_at"])
    run_again(worker_node, job, deps)
    second_wait = float(worker_node.job(job)["not_before"]) - float(worker_node.job(job)["claimed_at"])
    assert worker_node.job(job)["state"] == "queued"
    run_again(worker_node, job, deps)

    result = worker_node.result(job)
    assert result["result"]["outcome"] == "infra"
    assert image in result["result"]["message"]
    assert "leasebox-worker images build never-built" in result["result"]["message"]
    assert 1.0 <= first_wait < 5.0 <= second_wait < 25.0
    assert not deps.sandboxes.circuit.is_open
    assert left(deps) == []


def test_a_sandbox_that_dies_under_a_running_job_is_lost_and_leaves_nothing(
    worker_node: Any, any_deps: Deps, eventually: Any
) -> None:
    deps = any_deps
    run_job(worker_node.submit("s"), deps)
    job = worker_node.submit("s", {"code": ENDLESS})
    runner = threading.Thread(target=run_job, args=(job, deps), daemon=True)
    runner.start()
    eventually(lambda: worker_node.redis.xlen(worker_node.keys.events(job)) >= 3)
    running = next(iter(deps.running._claims.values())).sandbox
    os.kill(pid_of(deps, running), signal.SIGKILL)
    runner.join(20.0)
    after = worker_node.submit("s")
    run_job(after, deps)

    assert worker_node.job(job)["outcome"] == "lost"
    assert restarts(worker_node, after) == [b'{"reason":"lost"}']
    assert left(deps) == [held(worker_node, deps).name] != [running.name]


def test_a_job_that_may_be_retried_runs_again_after_its_sandbox_died(
    worker_node: Any, any_deps: Deps, eventually: Any
) -> None:
    deps = any_deps
    job = worker_node.submit(spec={"code": ENDLESS}, retries=1)
    runner = threading.Thread(target=run_job, args=(job, deps), daemon=True)
    runner.start()
    eventually(lambda: worker_node.redis.xlen(worker_node.keys.events(job)) >= 3, within_s=20)
    running = next(iter(deps.running._claims.values())).sandbox
    os.kill(pid_of(deps, running), signal.SIGKILL)
    runner.join(20.0)

    assert (worker_node.job(job)["state"], worker_node.job(job)["runs"]) == ("queued", "1")
    assert left(deps) == []


def test_a_sandbox_that_died_while_idle_costs_its_next_job_no_attempt(
    worker_node: Any, any_deps: Deps, eventually: Any
) -> None:
    deps = any_deps
    run_job(worker_node.submit("s"), deps)
    idle = held(worker_node, deps)
    os.kill(pid_of(deps, idle), signal.SIGKILL)
    eventually(lambda: select.select([idle.link._channel], [], [], 0)[0], within_s=20)  # the engine has noticed
    job = worker_node.submit("s")
    run_job(job, deps)

    assert (worker_node.job(job)["outcome"], worker_node.job(job)["runs"]) == ("ok", "1")
    assert restarts(worker_node, job) == [b'{"reason":"lost"}']


@docker
def test_a_sandbox_that_is_killed_while_it_starts_is_a_failed_start(
    worker_node: Any, docker_deps: Deps, docker_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver: Any = docker_deps.sandboxes.driver
    create = driver.create

    def create_then_kill(request: Any) -> Any:
        handle, channel = create(request)
        docker_engine.client.containers.get(handle.id).kill()
        with suppress(ChannelClosed):
            while True:
                channel.receive(None)  # the greeting of an agent that was faster than the kill
        return handle, channel

    monkeypatch.setattr(driver, "create", create_then_kill)
    job = worker_node.submit("s")
    run_job(job, docker_deps)

    assert (worker_node.job(job)["state"], worker_node.job(job)["starts"]) == ("queued", "1")
    assert left(docker_deps) == []
    monkeypatch.setattr(driver, "create", create)
    run_again(worker_node, job, docker_deps)
    assert worker_node.job(job)["outcome"] == "ok"
