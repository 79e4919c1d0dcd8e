"""A process as a node: its name, its heartbeat, and what a heartbeat orders."""

from collections.abc import Callable
from typing import Any

import pytest

from leasebox.contract.errors import ConfigError
from leasebox.contract.scripts import worker
from leasebox_worker.lifecycle.node import Orders


class Told:
    """Keeps the orders of heartbeats."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.disowned: list[tuple[str, str]] = []
        self.lost_names = 0
        self.orders = Orders(
            cancel=self.cancelled.append, disown=lambda *claim: self.disowned.append(claim), lost_name=self._lose
        )

    def _lose(self) -> None:
        self.lost_names += 1


def test_a_heartbeat_moves_the_counter_and_orders_nothing(worker_node: Any) -> None:
    told, work = Told(), worker_node.claim(worker_node.submit())
    before = worker_node.redis.zscore(worker_node.keys.nodes(), "n")
    worker_node.node.heartbeat(told.orders, busy=1, draining=False)

    assert worker_node.redis.zscore(worker_node.keys.nodes(), "n") == before + 1
    assert (told.cancelled, told.disowned, told.lost_names) == ([], [], 0)
    assert worker_node.tracker.held() == [(work.job, work.lease)]


def test_a_heartbeat_tells_of_cancels_and_of_leases_given_away(worker_node: Any) -> None:
    told = Told()
    cancelled, lost = worker_node.claim(worker_node.submit()), worker_node.claim(worker_node.submit())
    worker_node.cancel(cancelled.job)
    worker_node.runner.run(worker.give_up(worker_node.keys, job=lost.job, lease=lost.lease, why=worker.Why.OVERDUE))
    worker_node.node.heartbeat(told.orders, busy=2, draining=False)

    assert told.cancelled == [cancelled.job]
    assert told.disowned == [(lost.job, lost.lease)]
    assert worker_node.tracker.held() == [(cancelled.job, cancelled.lease)]


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
    worker_node.node.heartbeat(told.orders, busy=0, draining=False)
    second.adopt(has_proof=True)
    worker_node.node.heartbeat(told.orders, busy=0, draining=False)

    assert told.lost_names == 1


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
