"""What a new incarnation keeps of the sandboxes of the one before, and what it ends."""

import json
from dataclasses import replace
from typing import Any

import pytest

from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts import node as scripts
from leasebox.contract.spec import Limits
from leasebox_guest.frames import Kind
from leasebox_worker.drivers.base import Found, Handle
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.engine.adopt import adoption_plan, offer, take_over
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.refill import Refill, Refilling
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Sandbox, Sandboxes
from leasebox_worker.guestlink.link import Exec
from leasebox_worker.lifecycle import owners
from leasebox_worker.lifecycle.owners import Owners, SessionOwner
from leasebox_worker.lifecycle.pool import Pools
from leasebox_worker.lifecycle.tracker import Identity
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.policy.profiles import BUILT_IN


def sandbox(name: str, *, alive: bool = True) -> Found:
    return Found(Handle("docker", name, name), {}, 0.0, alive)


OWNERS = Owners(
    sessions={"of-session": SessionOwner("t/s", 1, "busy", "{}")},
    pooled={"of-pool": "default"},
    of_jobs=frozenset({"of-job"}),
    starting=frozenset(),
)


@pytest.mark.parametrize(
    ("name", "alive", "outlives", "is_attached"),
    [
        ("of-session", True, True, True),
        ("of-pool", True, True, True),
        ("of-job", True, True, False),
        ("nobody", True, True, False),
        ("of-session", False, True, False),
        ("of-pool", False, True, False),
        ("of-session", True, False, False),
        ("of-pool", True, False, False),
    ],
)
def test_only_a_living_sandbox_of_a_session_or_a_pool_is_attached(
    name: str, alive: bool, outlives: bool, is_attached: bool
) -> None:
    plan = adoption_plan([sandbox(name, alive=alive)], OWNERS, outlives_worker=outlives)

    assert (len(plan.attach), len(plan.end)) == ((1, 0) if is_attached else (0, 1))


def make(deps: Deps, **labels: str) -> Sandbox:
    profile = BUILT_IN["lightweight"]
    limits, place = effective_limits(Limits(pids=50), profile, node_cpus=1.0), deps.sandboxes.reserve()
    assert place is not None
    return deps.sandboxes.make(profile, limits, labels, place)


def begin_a_job(worker_node: Any, deps: Deps, code: bytes) -> str:
    """Start code in session s as an attempt does that never comes to its end."""
    work = worker_node.claim(worker_node.submit("s"))
    held = deps.sandboxes.find(worker_node.session("s")["sandbox"])
    assert held is not None
    worker_node.tracker.start(work, deadline_s=60.0, sandbox_name=held.name)
    request = Exec(
        id=f"{work.lease}/python", kind="python", argv=("main.py",), code_bytes=len(code), code_path="main.py",
        cwd="/workspace", env={}, wall_s=60.0, cpu_s=None, silence_s=None, stream_bytes=1 << 20, line_buffered=True,
        cancel_grace_s=1.0,
    )  # fmt: skip
    held.link.execute(request, code, ())
    return str(work.job)


def crash(deps: Deps) -> Sandboxes:
    """The sandboxes of the next process: the one before has let go of everything."""
    deps.sandboxes._is_closed = True
    for held in list(deps.sandboxes._held.values()):
        held.link.close()
    return Sandboxes(deps.sandboxes.driver, deps.sandboxes._placement, bound=4)


def adopted_by(worker_node: Any, sandboxes: Sandboxes) -> list[Any]:
    return take_over(
        sandboxes, owners.read(worker_node.redis, worker_node.keys, "n"), lambda found: adopt(worker_node, found)
    )


def adopt(worker_node: Any, found: Any) -> a.Adopted:
    answer = worker_node.runner.run(
        scripts.adopt(
            worker_node.keys, node="n", incarnation="n-2", machine_id="m", has_proof=True, driver="docker", slots=4,
            found=found,
        )
    )  # fmt: skip
    assert isinstance(answer, a.Adopted)
    return answer


@pytest.mark.docker
@pytest.mark.slow
def test_sessions_are_held_again_with_files_and_limits_and_what_ran_is_killed(
    worker_node: Any, docker_deps: Deps
) -> None:
    deps = docker_deps
    run_job(worker_node.submit("s", {"code": "open('f', 'w').write('x')", "limits": {"pids": 60}}), deps)
    job = begin_a_job(worker_node, deps, b"import time\ntime.sleep(60)")
    orphan = make(deps)
    text = worker_node.session("s")["sandbox"]

    after = crash(deps)
    assert adopted_by(worker_node, after) == []
    held = after.find(text)

    assert held is not None
    assert held.limits.pids == 60
    assert worker_node.job(job)["outcome"] == "lost"
    assert worker_node.session("s")["state"] == "idle"
    assert after.names() == {held.name}
    assert [found.handle.name for found in after.driver.list()] == [held.name]
    assert orphan.name not in after.names()
    after.end_all()


@pytest.mark.docker
@pytest.mark.slow
def test_never_used_sandboxes_go_to_the_pool_of_the_new_incarnation(worker_node: Any, docker_deps: Deps) -> None:
    warm = make(docker_deps)
    push = scripts.pool_push(worker_node.keys, node="n", incarnation="n-1", profile="lightweight", sandbox=warm.text())
    worker_node.runner.run(push)

    after = crash(docker_deps)
    pooled = adopted_by(worker_node, after)
    pools = Pools(worker_node.redis, worker_node.runner, worker_node.keys, Identity("n", "n-2"))
    refill = Refill(pools, after, BUILT_IN, docker_deps.intake, Refilling(1, 2.0))
    offer(pooled, BUILT_IN, refill, after)
    refill.stop()

    assert [(entry.profile, entry.sandbox.name) for entry in pooled] == [("lightweight", warm.name)]
    key = worker_node.keys.pool("n", "n-2", "lightweight")
    assert [json.loads(text)["name"] for text in worker_node.redis.lrange(key, 0, -1)] == [warm.name]
    assert worker_node.redis.exists(worker_node.keys.pool("n", "n-1", "lightweight")) == 0
    after.end_all()


@pytest.mark.docker
@pytest.mark.slow
def test_an_agent_whose_worker_died_inside_a_frame_is_taken_over_all_the_same(
    worker_node: Any, docker_deps: Deps
) -> None:
    run_job(worker_node.submit("s", {"code": "open('f', 'w').write('x')"}), docker_deps)
    held = docker_deps.sandboxes.find(text := worker_node.session("s")["sandbox"])
    assert held is not None
    held.link._channel.send((1000).to_bytes(4, "big") + bytes([Kind.STDIN]) + b"half")

    after = crash(docker_deps)
    adopted_by(worker_node, after)

    assert after.find(text) is not None
    after.end_all()


@pytest.mark.docker
@pytest.mark.slow
def test_a_session_of_another_generation_is_not_taken_over(
    worker_node: Any, docker_deps: Deps, eventually: Any
) -> None:
    run_job(worker_node.submit("s"), docker_deps)
    stale = owners.read(worker_node.redis, worker_node.keys, "n")
    worker_node.redis.hset(worker_node.keys.session("acme", "s"), "generation", 7)

    after = crash(docker_deps)
    take_over(after, stale, lambda found: adopt(worker_node, found))

    assert after.names() == frozenset()
    assert eventually(lambda: after.driver.list() == [])


@pytest.mark.docker
@pytest.mark.slow
def test_sandboxes_of_another_node_and_installation_are_not_touched(
    worker_node: Any, docker_deps: Deps, docker_engine: Any
) -> None:
    driver = docker_deps.sandboxes.driver
    assert isinstance(driver, DockerDriver)
    others = [
        DockerDriver(replace(driver._settings, node="m")),
        DockerDriver(replace(driver._settings, installation=f"{docker_engine.installation}-other")),
    ]
    made = []
    for other in others:
        sandboxes = Sandboxes(other, docker_deps.sandboxes._placement, bound=1)
        profile = BUILT_IN["lightweight"]
        place = sandboxes.reserve()
        assert place is not None
        made.append(sandboxes.make(profile, effective_limits(Limits(), profile, node_cpus=1.0), {}, place))
    after = crash(docker_deps)
    adopted_by(worker_node, after)

    assert [[found.alive for found in other.list()] for other in others] == [[True], [True]]
    for other, one in zip(others, made, strict=True):
        other.kill(one.handle)
        other.close()
