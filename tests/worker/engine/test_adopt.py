"""What a new incarnation keeps of the sandboxes of the one before, and what it ends."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts import node as scripts
from leasebox.contract.spec import Limits
from leasebox_guest.frames import Kind
from leasebox_worker.drivers.base import Found, Handle
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.engine.adopt import adoption_plan, take_over
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Intake
from leasebox_worker.engine.refill import Refill, Refilling
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Sandbox, Sandboxes
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.lifecycle import owners
from leasebox_worker.lifecycle.owners import Owners, SessionOwner
from leasebox_worker.lifecycle.pool import Pools
from leasebox_worker.lifecycle.tracker import Identity
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.policy.profiles import BUILT_IN


def sandbox(name: str, *, alive: bool = True) -> Found:
    return Found(Handle("docker", name, name), {}, 0.0, alive)


_EMPTY_TAR = bytes(10240)
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


def make(deps: Deps, pids: int = 50, **labels: str) -> Sandbox:
    profile = BUILT_IN["lightweight"]
    place = deps.sandboxes.reserve()
    assert place is not None
    return deps.sandboxes.make(profile, effective_limits(Limits(pids=pids), profile, node_cpus=1.0), labels, place)


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
    profile = BUILT_IN["lightweight"]
    warm, other = make(docker_deps, pids=profile.pids), make(docker_deps)
    for sandbox in (warm, other):
        worker_node.runner.run(_push(worker_node, sandbox))

    after = crash(docker_deps)
    pooled = adopted_by(worker_node, after)
    identity = Identity("n", "n-2")
    pools = Pools(worker_node.redis, worker_node.runner, worker_node.keys, identity)
    refill = Refill(pools, after, BUILT_IN, Intake(), Refilling(1, 1.0))
    for entry in pooled:
        refill.take_over(entry.sandbox, entry.profile)

    assert {entry.sandbox.name for entry in pooled} == {warm.name, other.name}
    assert [json.loads(text)["name"] for text in pools.ready(["lightweight"])[0]] == [warm.name]
    assert after.names() == {warm.name}  # the other one has not the profile's limits
    assert worker_node.redis.exists(worker_node.keys.pool("n", "n-1", "lightweight")) == 0
    after.end_all()


@pytest.fixture
def image(docker_engine: Any, python_image: str) -> Iterator[str]:
    """A reference of this test alone to the default image, so that it can be moved."""
    reference = f"lbt-{docker_engine.installation}:moved"
    docker_engine.client.images.get(python_image).tag(reference)
    yield reference
    docker_engine.client.images.remove(reference, force=True)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("change", ["none", "image", "rebuilt", "seccomp", "preload", "network"])
def test_a_warm_sandbox_of_a_profile_or_an_image_that_has_changed_ends(
    worker_node: Any, docker_deps: Deps, docker_engine: Any, image: str, change: str
) -> None:
    before = replace(BUILT_IN["lightweight"], image=image)
    changed: dict[str, Any] = {
        "none": {}, "rebuilt": {}, "image": {"image": "leasebox/python"}, "seccomp": {"seccomp": "debug"},
        "preload": {"preload": ("json",)}, "network": {"network": ("example.com",)},
    }  # fmt: skip
    place = docker_deps.sandboxes.reserve()
    assert place is not None
    warm = docker_deps.sandboxes.make(before, effective_limits(Limits(), before, node_cpus=1.0), {}, place)
    worker_node.runner.run(_push(worker_node, warm))
    if change == "rebuilt":
        repository, _, tag = image.partition(":")
        docker_engine.client.api.import_image_from_data(_EMPTY_TAR, repository=repository, tag=tag)

    after = crash(docker_deps)
    pools = Pools(worker_node.redis, worker_node.runner, worker_node.keys, Identity("n", "n-2"))
    served = {"lightweight": replace(before, **changed[change])}
    (entry,) = adopted_by(worker_node, after)
    Refill(pools, after, served, Intake(), Refilling(1, 1.0)).take_over(entry.sandbox, entry.profile)

    assert len(pools.ready(["lightweight"])[0]) == (1 if change == "none" else 0)
    assert after.names() == ({warm.name} if change == "none" else set())
    after.end_all()


def _push(worker_node: Any, sandbox: Sandbox) -> Any:
    return scripts.pool_push(
        worker_node.keys, node="n", incarnation="n-1", profile="lightweight", sandbox=sandbox.text()
    )


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
