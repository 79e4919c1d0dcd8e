"""What any node repairs for all."""

import random
from dataclasses import replace
from typing import Any

import pytest

from leasebox_worker.lifecycle.node import Orders
from leasebox_worker.lifecycle.reaper import Graces, Reaper

NOW = Graces(look_s=60.0, reclaim_s=0.0, adopt_grace_s=0.0, drained_grace_s=0.0, resend_grace_s=0.0)
"""No patience at all: what counts silence is tested in test_silence.py."""

NO_ORDERS = Orders(cancel=lambda _job: None, disown=lambda _job, _lease: None)


@pytest.fixture
def reaper(worker_node: Any) -> Reaper:
    return Reaper(worker_node.redis, worker_node.runner, worker_node.keys, NOW)


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


def test_a_silent_node_is_given_up_and_forgotten(worker_node: Any, reaper: Reaper) -> None:
    worker_node.run_to_idle("s")
    work = worker_node.claim(worker_node.submit())
    reaper.reclaim()
    assert worker_node.job(work.job)["state"] == "queued"
    assert worker_node.session("s")["node"] == "n", "a quick return finds its files"

    reaper.reclaim()
    assert worker_node.session("s")["node"] == ""
    assert worker_node.redis.zscore(worker_node.keys.nodes(), "n") is None


def test_a_node_with_more_claims_than_one_call_gives_up_is_reclaimed_at_once(worker_node: Any, reaper: Reaper) -> None:
    works = [worker_node.claim(worker_node.submit()) for _ in range(70)]
    reaper.reclaim()

    assert {worker_node.job(work.job)["state"] for work in works} == {"queued"}


def test_a_node_that_beats_keeps_what_it_has(worker_node: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    reaper = Reaper(worker_node.redis, worker_node.runner, worker_node.keys, replace(NOW, reclaim_s=0.001))
    for _ in range(3):
        reaper.reclaim()
        worker_node.node.heartbeat(NO_ORDERS, busy=1, draining=False)

    assert worker_node.job(work.job)["state"] == "starting"


@pytest.mark.parametrize(("draining", "is_gone"), [(False, True), (True, False)])
def test_a_drained_node_has_longer_to_come_back(worker_node: Any, draining: bool, is_gone: bool) -> None:
    graces = replace(NOW, drained_grace_s=600.0)
    reaper = Reaper(worker_node.redis, worker_node.runner, worker_node.keys, graces)
    worker_node.node.heartbeat(NO_ORDERS, busy=0, draining=draining)
    reaper.reclaim()
    reaper.reclaim()

    assert (worker_node.redis.zscore(worker_node.keys.nodes(), "n") is None) is is_gone


def test_nothing_is_overdue_before_redis_has_been_back_for_a_while(worker_node: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    worker_node.redis.zadd(worker_node.keys.claims("n"), {work.job: 1.0})
    reaper = Reaper(worker_node.redis, worker_node.runner, worker_node.keys, replace(NOW, reclaim_s=60.0))
    reaper.reclaim()
    reaper.overdue()

    assert worker_node.job(work.job)["state"] == "starting"


def test_a_batch_without_a_submit_for_an_hour_is_sealed(worker_node: Any, reaper: Reaper) -> None:
    worker_node.submit(batch="b-old")
    worker_node.submit(batch="b-new")
    worker_node.redis.zadd(worker_node.keys.batches(), {"b-old": 1.0})
    reaper.seal()

    assert worker_node.redis.hget(worker_node.keys.batch("b-old"), "sealed") == b"1"
    assert worker_node.redis.hget(worker_node.keys.batch("b-new"), "sealed") != b"1"


@pytest.mark.parametrize(("nodes", "least", "most"), [(3, 100, 100), (100, 1, 8)])
def test_a_hundred_nodes_together_ask_redis_no_more_often_than_three(
    worker_node: Any, reaper: Reaper, nodes: int, least: int, most: int
) -> None:
    names = ["n", *(f"other-{number}" for number in range(1, nodes))]
    worker_node.redis.zadd(worker_node.keys.nodes(), dict.fromkeys(names, 1.0))
    reaper._dice = random.Random(1)
    queue = worker_node.keys.queue("default")
    worker_node.submit()
    sent_again = 0
    for _ in range(100):  # as many nodes, or periods
        worker_node.redis.delete(queue)
        reaper.resend()
        sent_again += worker_node.redis.llen(queue)

    assert least <= sent_again <= most


def test_who_has_no_turn_leaves_what_is_overdue_to_the_others(worker_node: Any, reaper: Reaper) -> None:
    worker_node.redis.zadd(worker_node.keys.nodes(), {f"other-{number}": 1.0 for number in range(99)})
    late = worker_node.claim(worker_node.submit())
    worker_node.redis.zadd(worker_node.keys.claims("n"), {late.job: 1.0})
    reaper._dice = random.Random(1)
    rounds = 0
    while worker_node.job(late.job)["state"] != "queued":
        reaper.overdue()
        rounds += 1

    assert 1 < rounds < 500
