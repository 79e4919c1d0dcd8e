"""A node's standing: what it does when it was given up, when its name is taken, when Redis has started anew."""

import threading
from typing import Any

import pytest
from tests.conftest import Eventually

from leasebox.contract.scripts import node as scripts
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.holder import Holder
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.service import Service
from leasebox_worker.lifecycle.node import Orders

LONG = "import time\nprint('on', flush=True)\ntime.sleep(600)"


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def service(worker_node: Any, deps: Deps, lost: list[str]) -> Service:
    orders = Orders(cancel=lambda _job: None, disown=lambda _job, _lease: None)
    holder = Holder(deps, held_max_s=600.0)
    return Service(
        worker_node.redis, worker_node.keys, worker_node.node, deps, holder, orders, 15.0, lambda: lost.append("n")
    )


def reclaim(worker_node: Any) -> None:
    keys = worker_node.keys
    counter = worker_node.redis.zscore(keys.nodes(), "n")
    incarnation = worker_node.redis.hget(keys.node("n"), "incarnation").decode()
    worker_node.runner.run(scripts.reclaim(keys, node="n", incarnation=incarnation, seen_counter=counter))


def test_a_node_that_was_given_up_keeps_what_lay_idle_and_ends_what_ran(
    worker_node: Any, deps: Deps, service: Service, eventually: Eventually
) -> None:
    run_job(worker_node.submit("s", {"code": "open('f', 'w').write('kept')"}), deps)
    running = worker_node.submit(None, {"code": LONG})
    thread = threading.Thread(target=run_job, args=(running, deps))
    thread.start()
    eventually(lambda: worker_node.job(running)["state"] == "running", within_s=20.0)
    reclaim(worker_node)
    service.beat()
    thread.join(20.0)

    assert worker_node.job(running)["outcome"] == "lost"
    assert deps.sandboxes.count() == 1
    assert deps.tracker.identity.incarnation != "n-1"
    assert not deps.fence.is_shut
    assert not deps.intake.reasons
    again = worker_node.submit("s", {"code": "print(open('f').read())"})
    run_job(again, deps)
    assert worker_node.result(again)["stdout"] == "kept\n"


def test_a_sandbox_whose_session_went_on_elsewhere_is_ended(worker_node: Any, deps: Deps, service: Service) -> None:
    run_job(worker_node.submit("s"), deps)
    reclaim(worker_node)
    worker_node.runner.run(
        scripts.forget(worker_node.keys, node="n", incarnation="n-1", reason="lost", adopt_grace_s=0.0)
    )
    service.beat()

    assert deps.sandboxes.count() == 0
    assert worker_node.redis.zscore(worker_node.keys.nodes(), "n") is not None


def test_a_node_whose_name_was_taken_ends_everything_and_never_registers_again(
    worker_node: Any, new_node: Any, deps: Deps, service: Service, lost: list[str]
) -> None:
    run_job(worker_node.submit("s"), deps)
    new_node("n", "n-2").adopt(has_proof=True)
    service.beat()

    assert lost == ["n"]
    assert deps.sandboxes.count() == 0
    assert not deps.fence.wait()
    assert worker_node.redis.hget(worker_node.keys.node("n"), "incarnation") == b"n-2"


def test_a_redis_that_started_anew_is_told_again_what_was_settled(
    worker_node: Any, deps: Deps, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed: list[str] = []
    monkeypatch.setattr(deps.tracker, "replay", lambda: replayed.append("again"))
    service.beat()
    service.beat()
    assert replayed == []

    service._run_id = "of the server before"
    service.beat()
    service.beat()
    assert replayed == ["again"]
