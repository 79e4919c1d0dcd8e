"""A process as a node: its name, its heartbeat, and what a heartbeat orders."""

from collections.abc import Callable
from typing import Any

import pytest

from leasebox.contract.errors import ConfigError
from leasebox.contract.scripts import answers, worker
from leasebox.contract.scripts import node as node_scripts
from leasebox_worker.lifecycle.node import Orders, Standing


class Told:
    """Keeps the orders of heartbeats."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.disowned: list[tuple[str, str]] = []
        self.orders = Orders(cancel=self.cancelled.append, disown=lambda *claim: self.disowned.append(claim))


def test_a_heartbeat_moves_the_counter_and_orders_nothing(worker_node: Any) -> None:
    told, work = Told(), worker_node.claim(worker_node.submit())
    before = worker_node.redis.zscore(worker_node.keys.nodes(), "n")
    standing = worker_node.node.heartbeat(told.orders, busy=1, draining=False)

    assert standing is Standing.ALIVE
    assert worker_node.redis.zscore(worker_node.keys.nodes(), "n") == before + 1
    assert (told.cancelled, told.disowned) == ([], [])
    assert worker_node.tracker.held() == [(work.job, work.lease, None)]


def test_a_heartbeat_tells_of_cancels_and_of_leases_given_away(worker_node: Any) -> None:
    told = Told()
    cancelled, lost = worker_node.claim(worker_node.submit()), worker_node.claim(worker_node.submit())
    worker_node.cancel(cancelled.job)
    worker_node.runner.run(worker.give_up(worker_node.keys, job=lost.job, lease=lost.lease, why=worker.Why.OVERDUE))
    worker_node.node.heartbeat(told.orders, busy=2, draining=False)

    assert told.cancelled == [cancelled.job]
    assert told.disowned == [(lost.job, lost.lease)]
    assert worker_node.tracker.held() == [(cancelled.job, cancelled.lease, None)]


def test_a_node_says_why_it_takes_no_work(worker_node: Any, new_node: Callable[[str, str], Any]) -> None:
    told = Told()
    worker_node.node.heartbeat(told.orders, busy=0, draining=False, paused=["engine_down", "full"])
    said = worker_node.redis.hget(worker_node.keys.node("n"), "paused")
    new_node("n", "n-2").adopt()

    assert said == b"engine_down,full"
    assert worker_node.redis.hget(worker_node.keys.node("n"), "paused") is None


def test_a_live_name_is_taken_only_with_proof(worker_node: Any, new_node: Callable[[str, str], Any]) -> None:
    second, told = new_node("n", "n-2"), Told()
    with pytest.raises(ConfigError, match="in use"):
        second.adopt(has_proof=False)
    assert worker_node.node.heartbeat(told.orders, busy=0, draining=False) is Standing.ALIVE
    second.adopt(has_proof=True)

    assert worker_node.node.heartbeat(told.orders, busy=0, draining=False) is Standing.NAME_TAKEN


def test_proof_of_another_machine_proves_nothing(worker_node: Any, new_node: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="in use"):
        new_node("n", "n-2", machine_id="elsewhere").adopt(has_proof=True)


def test_a_name_is_free_once_its_holder_was_silent_for_long_enough(
    worker_node: Any, new_node: Callable[..., Any]
) -> None:
    second = new_node("n", "n-2")
    second.node.adopt([], has_proof=False, reclaim_s=0.3, wait_s=5.0)

    assert worker_node.node.heartbeat(Told().orders, busy=0, draining=False) is Standing.NAME_TAKEN


def test_a_node_that_was_given_up_registers_again_as_another_incarnation(worker_node: Any) -> None:
    told, work = Told(), worker_node.claim(worker_node.submit())
    counter = worker_node.redis.zscore(worker_node.keys.nodes(), "n")
    worker_node.runner.run(node_scripts.reclaim(worker_node.keys, node="n", incarnation="n-1", seen_counter=counter))
    assert worker_node.node.heartbeat(told.orders, busy=1, draining=False) is Standing.FENCED

    worker_node.node.adopt([], has_proof=True, reclaim_s=15.0, wait_s=0.0, incarnation="n-1b")
    worker_node.tracker.renew("n-1b")

    assert worker_node.node.heartbeat(told.orders, busy=0, draining=False) is Standing.ALIVE
    assert worker_node.tracker.held() == []
    assert worker_node.tracker.new_lease().startswith("n-1b:")
    assert worker_node.job(work.job)["state"] == "queued"


def test_adoption_answers_for_every_sandbox_also_beyond_one_call(
    worker_node: Any, new_node: Callable[..., Any]
) -> None:
    works = [worker_node.claim(worker_node.submit()) for _ in range(70)]  # more claims than one call gives up
    strange = answers.FoundSandbox("acme/nobody", 1, '{"name": "strange"}')
    second = new_node("n", "n-2")
    adopted = second.node.adopt([strange], has_proof=True, reclaim_s=15.0, wait_s=0.0)

    assert adopted.destroy == (strange,)
    assert {worker_node.job(work.job)["state"] for work in works} == {"queued"}


def test_a_moved_deadline_reaches_redis_by_the_heartbeat(worker_node: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    before = worker_node.redis.zscore(worker_node.keys.claims("n"), work.job)
    worker_node.tracker.postpone(100.0)
    worker_node.node.heartbeat(Told().orders, busy=1, draining=False)

    moved_s = worker_node.redis.zscore(worker_node.keys.claims("n"), work.job) - before
    assert 99.0 < moved_s < 101.0


def test_a_new_incarnation_gives_up_the_claims_of_the_old_one(
    worker_node: Any, new_node: Callable[[str, str], Any]
) -> None:
    work = worker_node.claim(worker_node.submit())
    new_node("n", "n-2").adopt()

    assert worker_node.job(work.job)["state"] == "queued"


def test_a_node_that_leaves_lets_its_sessions_go_on_elsewhere(
    worker_node: Any, new_node: Callable[[str, str], Any]
) -> None:
    worker_node.run_to_idle("s")
    job = worker_node.submit("s")
    other = new_node("m", "m-1")
    other.adopt()
    worker_node.node.leave()

    work = other.claim(job)
    other.tracker.bind(work, "box2", why="lost")
    events = worker_node.redis.xrange(worker_node.keys.events(job))
    assert [fields[b"json"] for _, fields in events if fields[b"type"] == b"session_restarted"] == [
        b'{"reason":"drained"}'
    ]
