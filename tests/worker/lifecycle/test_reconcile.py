"""Which sandboxes nobody has, which sessions have none, and that nothing of others is touched."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from leasebox.contract.scripts import node
from leasebox_worker.drivers.base import Found, Handle
from leasebox_worker.lifecycle import owners
from leasebox_worker.lifecycle.owners import Owners, SessionOwner
from leasebox_worker.lifecycle.reconcile import (
    MIN_AGE_S,
    Detach,
    Drift,
    Place,
    Reconciler,
    destroy_plan,
    detach_plan,
)

PLACE = Place("i", "n")
NOW = 1000.0


def found(name: str = "box", *, age_s: float = MIN_AGE_S + 1, alive: bool = True, **labels: str) -> Found:
    given = {"leasebox.installation": "i", "leasebox.node": "n"} | {f"leasebox.{k}": v for k, v in labels.items()}
    return Found(Handle("docker", f"id-{name}", name), given, NOW - age_s, alive)


def has(
    sessions: Mapping[str, str] | None = None,
    pooled: Mapping[str, str] | None = None,
    of_jobs: frozenset[str] = frozenset(),
    starting: frozenset[str] = frozenset(),
) -> Owners:
    """Owners; `sessions`: sandbox -> state."""
    lines = {name: SessionOwner(f"t/{name}", 1, state, text(name)) for name, state in (sessions or {}).items()}
    return Owners(lines, pooled or {}, of_jobs, starting)


def text(name: str) -> str:
    return json.dumps({"name": name, "driver": "docker", "id": f"id-{name}"})


@pytest.mark.parametrize(
    ("sandbox", "owned", "is_destroyed"),
    [
        (found(), has(), True),
        (found(alive=False), has(), True),
        (found(age_s=MIN_AGE_S), has(), False),
        (found(), has({"box": "idle"}), False),
        (found(), has({"box": "busy"}), False),
        (found(), has({"newer": "idle"}), True),
        (found(), has(pooled={"box": "default"}), False),
        (found(), has(of_jobs=frozenset({"box"})), False),
        (found(job="j"), has(starting=frozenset({"j"})), False),
        (found(job="j"), has(), True),
        (found(job=""), has(), True),
        (found(installation="other"), has(), False),
        (found(node="other"), has(), False),
    ],
    ids=[
        "nobody's", "nobody's and dead", "too young", "idle session", "busy session", "session at a later generation",
        "pooled", "of a claimed job", "on its way to a job", "of a job that ended", "pool sandbox that was dropped",
        "other installation", "other node",
    ],
)  # fmt: skip
def test_only_an_old_sandbox_of_ours_that_nobody_has_is_destroyed(
    sandbox: Found, owned: Owners, is_destroyed: bool
) -> None:
    plan = destroy_plan(PLACE, [sandbox], owned, now=NOW)

    assert [action.handle.name for action in plan] == (["box"] if is_destroyed else [])


@pytest.mark.parametrize(
    ("state", "held", "is_detached"),
    [("idle", frozenset(), True), ("busy", frozenset(), False), ("idle", frozenset({"box"}), False)],
)
def test_only_an_idle_session_whose_sandbox_is_gone_is_detached(
    state: str, held: frozenset[str], is_detached: bool
) -> None:
    owned = has({"box": state})

    assert detach_plan(owned, held) == ([Detach(owned.sessions["box"])] if is_detached else [])


class Engine:
    """The two methods of a driver that reconciling needs, on a list."""

    def __init__(self, *sandboxes: Found) -> None:
        self.sandboxes = {sandbox.handle.name: sandbox for sandbox in sandboxes}

    def list(self) -> list[Found]:
        return list(self.sandboxes.values())

    def kill(self, handle: Handle) -> None:
        del self.sandboxes[handle.name]


def reconciler(worker_node: Any, engine: Engine, *held: str) -> Reconciler:
    driver: Any = engine
    return Reconciler(worker_node.redis, worker_node.runner, worker_node.keys, PLACE, driver, lambda: frozenset(held))


def test_reconciling_ends_what_only_one_side_knows_and_counts_it(worker_node: Any) -> None:
    worker_node.run_to_idle("whole", text("whole"))
    worker_node.run_to_idle("gone", text("gone"))
    waiting = worker_node.submit("gone")
    engine = Engine(found("whole"), found("orphan"), replace(found("young"), created_at=time.time()))

    drift = reconciler(worker_node, engine, "whole").reconcile()

    assert drift == Drift(destroyed=1, detached=1)
    assert set(engine.sandboxes) == {"whole", "young"}
    assert worker_node.session("gone")["sandbox"] == ""
    assert worker_node.job(waiting)["queue"] == worker_node.keys.queue("default")
    assert worker_node.session("whole")["state"] == "idle"
    assert reconciler(worker_node, engine, "whole").reconcile() == Drift()


def test_the_next_job_of_a_detached_session_says_why(worker_node: Any) -> None:
    worker_node.run_to_idle("s", text("gone"))
    reconciler(worker_node, Engine()).detach_dead()
    work = worker_node.claim(worker_node.submit("s"))
    worker_node.tracker.bind(work, text("new"), why="failed")

    events = worker_node.redis.xrange(worker_node.keys.events(work.job))
    assert [e[b"json"] for _, e in events if e[b"type"] == b"session_restarted"] == [b'{"reason":"lost"}']


def test_a_session_that_was_claimed_meanwhile_is_left_alone(worker_node: Any) -> None:
    worker_node.run_to_idle("s", text("box"))
    seen = owners.read(worker_node.redis, worker_node.keys, "n")
    worker_node.claim(worker_node.submit("s"))
    Reconciler._detach_all(reconciler(worker_node, Engine()), detach_plan(seen, frozenset()))

    assert worker_node.session("s")["sandbox"] == text("box")


def test_an_owner_is_read_for_every_sandbox_that_redis_names(worker_node: Any) -> None:
    worker_node.run_to_idle("s", text("of-session"))
    push = node.pool_push(worker_node.keys, node="n", incarnation="n-1", profile="default", sandbox=text("of-pool"))
    worker_node.runner.run(push)
    starting = worker_node.submit(profile="lightweight")
    worker_node.claim(starting)
    bound = worker_node.claim(worker_node.submit(profile="lightweight"))
    worker_node.tracker.bind(bound, text("of-job"), why="lost")

    seen = owners.read(worker_node.redis, worker_node.keys, "n")

    assert seen.sessions == {"of-session": SessionOwner("acme/s", 1, "idle", text("of-session"))}
    assert (seen.pooled, seen.of_jobs) == ({"of-pool": "default"}, frozenset({"of-job"}))
    assert seen.starting == frozenset({starting, bound.job})
