"""Are exactly those lines woken again whose wake-up is missing, and at the right time?"""

import random
import re
from typing import Any

import pytest

from leasebox.contract.scripts import answers, client, client_answers, worker
from leasebox_worker.lifecycle.reaper import Graces, Reaper

GRACE_S = 600.0
"""Of a second look, which must not come within this test."""


def _submit_many(node: Any, count: int) -> list[str]:
    """Jobs without a session, in few trips."""
    calls = [
        client.submit(
            node.keys,
            record=client.NewJob(
                job=f"{node.keys.prefix}-{n}", kind="program", tenant="acme", session=None, profile=None,
                priority="batch", spec=b"{}", digest="d",
                wake_head=b'{"properties":{"delivery_tag":"', wake_tail=b'"}}',
            ),
        )
        for n in range(count)
    ]  # fmt: skip
    accepted = [one for at in range(0, count, 500) for one in node.runner.run_many(calls[at : at + 500])]
    return [one.job for one in accepted if isinstance(one, client_answers.Accepted)]


def _reaper(node: Any, grace_s: float = 0.0) -> Reaper:
    graces = Graces(look_s=1.0, reclaim_s=15.0, adopt_grace_s=60.0, drained_grace_s=600.0, resend_grace_s=grace_s)
    return Reaper(node.redis, node.runner, node.keys, graces)


def _named(message: bytes) -> str:
    found = re.search(rb'"delivery_tag":"(.+)\.\d+"', message)
    assert found
    return found.group(1).decode()


@pytest.mark.slow
def test_of_ten_thousand_waiting_jobs_those_are_woken_whose_messages_are_gone_once_each(worker_node: Any) -> None:
    jobs = _submit_many(worker_node, 10_000)
    queue = worker_node.keys.queue("batch")
    reaper = _reaper(worker_node)
    reaper.resend()
    assert worker_node.redis.llen(queue) == 10_000

    messages = worker_node.redis.lrange(queue, 0, -1)
    dropped = random.Random(4).sample(messages, 100)
    for message in dropped:
        worker_node.redis.lrem(queue, -1, message)
    seen = []
    while message := worker_node.redis.rpop(queue):
        seen.append(_named(message))
        worker_node.claim(seen[-1])
        if len(seen) % 100 == 0 or len(seen) >= 9_900:
            reaper.resend()

    assert sorted(seen) == sorted(jobs)
    assert set(seen[-100:]) == {_named(message) for message in dropped}


def test_a_line_is_not_woken_twice_within_the_grace(worker_node: Any) -> None:
    worker_node.submit()
    queue = worker_node.keys.queue("default")
    worker_node.redis.delete(queue)
    _reaper(worker_node).resend()
    worker_node.redis.delete(queue)
    _reaper(worker_node, GRACE_S).resend()

    assert worker_node.redis.llen(queue) == 0


def test_five_hundred_jobs_behind_one_session_have_one_message_and_none_is_resent(worker_node: Any) -> None:
    jobs = [worker_node.submit("s") for _ in range(500)]
    queue = worker_node.keys.queue("default")
    _reaper(worker_node).resend()
    waiting = worker_node.redis.llen(queue)
    worker_node.redis.delete(queue)
    worker_node.claim(jobs[0])
    _reaper(worker_node).resend()

    assert (waiting, worker_node.redis.llen(queue)) == (1, 0)


def test_a_job_in_back_off_is_woken_when_its_time_has_come_and_not_before(worker_node: Any, eventually: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    worker_node.redis.delete(worker_node.keys.queue("default"))
    worker_node.tracker.give_up(work, worker.Why.START_FAILED, "no engine")
    reaper, queue = _reaper(worker_node), worker_node.keys.queue("default")
    reaper.expire()
    reaper.resend()
    before = worker_node.redis.llen(queue)

    def is_woken() -> bool:
        reaper.expire()
        return bool(worker_node.redis.llen(queue))

    eventually(is_woken)
    assert (before, worker_node.redis.llen(queue)) == (0, 1)
    assert worker_node.claim(work.job).starts == 1


def test_a_back_off_that_no_expiry_saw_is_ended_by_resend(worker_node: Any, eventually: Any) -> None:
    work = worker_node.claim(worker_node.submit())
    worker_node.redis.delete(worker_node.keys.queue("default"))
    worker_node.tracker.give_up(work, worker.Why.START_FAILED, "no engine")
    worker_node.redis.delete(worker_node.keys.deferred())
    reaper, queue = _reaper(worker_node), worker_node.keys.queue("default")

    def is_woken() -> bool:
        reaper.resend()
        return bool(worker_node.redis.llen(queue))

    eventually(is_woken)


def test_a_job_parked_for_its_tenant_is_woken_by_the_end_of_another_and_by_nothing_else(worker_node: Any) -> None:
    worker_node.redis.hset(worker_node.keys.tenants(), "acme", '{"running": 1}')
    first, second = worker_node.claim(worker_node.submit()), worker_node.submit()
    queue = worker_node.keys.queue("default")
    answer = worker_node.tracker.acquire(second, worker_node.tracker.new_lease(), draining=False, room=True)
    worker_node.redis.delete(queue)
    _reaper(worker_node).resend()
    while_parked = worker_node.redis.llen(queue)
    worker_node.tracker.start(first, deadline_s=5.0, sandbox_name="box")
    worker_node.settle(first)

    assert (answer, while_parked) == (answers.Later("tenant"), 0)
    assert _named(worker_node.redis.lindex(queue, 0)) == second
