"""What any node repairs for all."""

from typing import Any

import pytest

from leasebox_worker.lifecycle.reaper import Reaper


@pytest.fixture
def reaper(worker_node: Any) -> Reaper:
    return Reaper(worker_node.redis, worker_node.runner, worker_node.keys, resend_grace_s=0.0)


def test_a_job_that_waited_too_long_ends_expired(worker_node: Any, reaper: Reaper, eventually: Any) -> None:
    job = worker_node.submit(expires_in_s=0.001)

    def outcome() -> str | None:
        reaper.expire()
        return worker_node.job(job).get("outcome")

    assert eventually(outcome) == "expired"


def test_only_a_claim_past_its_deadline_is_taken(worker_node: Any, reaper: Reaper) -> None:
    late, fresh = worker_node.claim(worker_node.submit()), worker_node.claim(worker_node.submit())
    worker_node.redis.zadd(worker_node.keys.claims("n"), {late.job: 1.0})
    reaper.overdue()

    assert worker_node.job(late.job)["state"] == "queued"
    assert worker_node.job(fresh.job)["state"] == "starting"


def test_a_lost_wake_up_is_sent_again_and_one_that_is_there_is_not(worker_node: Any, reaper: Reaper) -> None:
    worker_node.submit()
    queue = worker_node.keys.queue("default")
    reaper.resend()
    before = worker_node.redis.llen(queue)
    worker_node.redis.delete(queue)
    reaper.resend()

    assert (before, worker_node.redis.llen(queue)) == (1, 1)


def test_a_wake_up_of_a_nodes_own_queue_is_sent_again(worker_node: Any, reaper: Reaper) -> None:
    worker_node.run_to_idle("s")
    worker_node.submit("s")
    queue = worker_node.keys.queue("default", "n")
    worker_node.redis.delete(queue)
    reaper.resend()

    assert worker_node.redis.llen(queue) == 1
