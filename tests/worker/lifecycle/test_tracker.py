"""Which leases a process holds."""

import threading
from typing import Any

import pytest
from tests.worker.conftest import NodeUnderTest

from leasebox.contract.errors import LeaseLost
from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts import client, node, worker


def test_a_claim_is_held_until_it_is_settled(worker_node: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    before = worker_node.tracker.held()
    worker_node.tracker.bind(work, "box", why="lost")
    worker_node.settle(work)

    assert before == [(work.job, work.lease, None)]
    assert worker_node.tracker.held() == []


def test_settle_holds_the_next_claim_of_the_line(worker_node: Any) -> None:
    worker_node.run_to_idle("s")
    work = worker_node.claim(worker_node.submit("s"))
    following = worker_node.submit("s")

    answer = worker_node.settle(work, may_continue=True)

    assert isinstance(answer, a.Next)
    assert worker_node.tracker.held() == [(following, answer.work.lease, None)]


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

    assert tracker.held() == [(new.job, new.lease, None)]
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


def test_what_was_settled_lately_is_settled_again_after_redis_lost_it(new_redis: Any, prefix: str) -> None:
    """As after a power cut: the claim reached the disk, the settle did not."""
    redis = new_redis().connect()
    node_under_test = NodeUnderTest(redis, prefix)
    node_under_test.adopt()
    work = node_under_test.claim(node_under_test.submit())
    on_disk = {key: redis.dump(key) for key in redis.scan_iter()}
    node_under_test.settle(work)
    redis.flushall()
    for key, dumped in on_disk.items():
        redis.restore(key, 0, dumped)
    assert node_under_test.job(work.job)["state"] == "starting"

    assert node_under_test.tracker.replay() == 1
    assert node_under_test.job(work.job)["outcome"] == "ok"


def test_a_next_job_that_only_the_repeat_has_claimed_goes_back(new_redis: Any, prefix: str) -> None:
    redis = new_redis().connect()
    node_under_test = NodeUnderTest(redis, prefix)
    node_under_test.adopt()
    node_under_test.run_to_idle("s")
    node_under_test.tracker._settled.clear()
    work = node_under_test.claim(node_under_test.submit("s"))
    following = node_under_test.submit("s")
    on_disk = {key: redis.dump(key) for key in redis.scan_iter()}
    node_under_test.runner.run(client.cancel(node_under_test.keys, job=following, tenant="acme"))
    node_under_test.settle(work, may_continue=True)
    redis.flushall()
    for key, dumped in on_disk.items():
        redis.restore(key, 0, dumped)
    node_under_test.tracker.replay()

    assert (node_under_test.job(following)["state"], node_under_test.job(following).get("starts", "0")) == (
        "queued",
        "0",
    )
    assert node_under_test.tracker.held() == []


def test_what_redis_kept_is_not_changed_by_a_repeat(worker_node: Any) -> None:
    works = [worker_node.claim(worker_node.submit()) for _ in range(3)]
    for work in works:
        worker_node.settle(work)
    before = [worker_node.redis.dump(worker_node.keys.job(work.job)) for work in works]

    assert worker_node.tracker.replay() == 3
    assert [worker_node.redis.dump(worker_node.keys.job(work.job)) for work in works] == before
