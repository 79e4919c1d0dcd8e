"""Which leases a process holds."""

import threading
from typing import Any

import pytest

from leasebox.contract.errors import LeaseLost
from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts import node, worker


def test_a_claim_is_held_until_it_is_settled(worker_node: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    before = worker_node.tracker.held()
    worker_node.tracker.bind(work, "box", why="lost")
    worker_node.settle(work)

    assert before == [(work.job, work.lease)]
    assert worker_node.tracker.held() == []


def test_settle_holds_the_next_claim_of_the_line(worker_node: Any) -> None:
    worker_node.run_to_idle("s")
    work = worker_node.claim(worker_node.submit("s"))
    following = worker_node.submit("s")

    answer = worker_node.settle(work, may_continue=True)

    assert isinstance(answer, a.Next)
    assert worker_node.tracker.held() == [(following, answer.work.lease)]


def test_a_lease_that_redis_gave_away_is_lost_at_every_step(worker_node: Any) -> None:
    tracker = worker_node.tracker
    work = worker_node.claim(worker_node.submit())
    worker_node.runner.run(worker.give_up(worker_node.keys, job=work.job, lease=work.lease, why=worker.Why.DISOWNED))

    with pytest.raises(LeaseLost):
        tracker.bind(work, "box", why="lost")
    with pytest.raises(LeaseLost):
        tracker.start(work, deadline_s=1.0, sandbox_name="box")
    with pytest.raises(LeaseLost):
        tracker.emit(work, [])
    with pytest.raises(LeaseLost):
        worker_node.settle(work)
    assert tracker.held() == []


def test_the_end_of_an_old_claim_does_not_drop_a_new_claim_of_the_same_job(worker_node: Any) -> None:
    tracker = worker_node.tracker
    old = worker_node.claim(worker_node.submit())
    worker_node.runner.run(worker.give_up(worker_node.keys, job=old.job, lease=old.lease, why=worker.Why.DRAIN))
    new = worker_node.claim(old.job)

    tracker.drop(old)

    assert tracker.held() == [(new.job, new.lease)]
    assert not tracker.forfeit(old.job, old.lease)
    assert tracker.forfeit(new.job, new.lease)


def test_a_lease_that_is_being_settled_is_not_forfeited_by_a_heartbeat_that_came_after(worker_node: Any) -> None:
    tracker, run = worker_node.tracker, worker_node.tracker._run
    work = worker_node.claim(worker_node.submit())
    said: list[bool] = []

    def settle_then_heartbeat(call: Any) -> Any:
        answer = run(call)
        beat = threading.Thread(target=lambda: said.append(tracker.forfeit(work.job, work.lease)))
        beat.start()
        beat.join()
        return answer

    tracker._run = settle_then_heartbeat
    worker_node.settle(work)

    assert said == [False]


def test_a_claim_that_was_dropped_is_given_up_by_the_heartbeat(worker_node: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    worker_node.tracker.drop(work)
    worker_node.runner.run(
        node.heartbeat(
            worker_node.keys, node="n", incarnation="n-1", held=worker_node.tracker.held(), slots=1, busy=0,
            disown_after_s=0.0,
        )
    )  # fmt: skip

    assert worker_node.job(work.job)["state"] == "queued"
