"""Does the census count what stands in Redis, and change nothing?"""

from __future__ import annotations

import json
import time

import pytest
from redis.exceptions import ResponseError

from leasebox.contract.scripts import census, node
from leasebox.contract.scripts.worker import Why

DAY = 20_000


def count(desk):
    return desk.run(census.census(desk.keys, day=DAY))


def of_class(desk, name="default"):
    return next(found for found in count(desk).classes if found.name == name)


def ago(desk, job, seconds):
    desk.redis.hset(desk.keys.job(job), "submitted_at", f"{time.time() - seconds:.6f}")


def idle_session(desk, name="s"):
    work = desk.claim(desk.new(session=name))
    desk.bind(work)
    desk.start(work)
    desk.settle(work)


def test_an_empty_installation_counts_nothing_and_knows_its_memory(desk):
    desk.redis.delete(desk.keys.nodes())
    found = count(desk)

    assert [line.name for line in found.classes] == ["interactive", "default", "batch"]
    assert {tuple(line)[1:] for line in found.classes} == {(0, 0, 0, 0.0)}
    assert (found.nodes, found.ended, found.webhooks, found.parked) == ((), {}, 0, 0)
    assert [tuple(tenant) for tenant in found.tenants] == [("default", 0, 0, 0, 0, 0.0, 0.0)]
    assert int(found.memory["used_memory"]) > 0


def test_a_class_counts_jobs_lines_and_wakeups_and_its_longest_wait(desk):
    for job, seconds in (("a", 50), ("b", 500), ("c", 5)):
        ago(desk, desk.new(f"{desk.keys.prefix}{job}"), seconds)
    desk.new(priority="batch")

    found = of_class(desk)

    assert (found.queued, found.lines, found.messages) == (3, 3, 3)
    assert found.wait_s == pytest.approx(500, abs=30)
    assert (of_class(desk, "batch").queued, of_class(desk, "interactive").queued) == (1, 0)


def test_a_line_of_a_session_waits_since_its_job_before_ended_on_the_node_that_has_it(desk):
    idle_session(desk)
    ago(desk, desk.new(session="s"), 3600)
    desk.redis.hset(desk.keys.session("acme", "s"), "used_at", f"{time.time() - 70:.6f}")

    found = of_class(desk)

    assert found.lines == 1
    assert found.wait_s == pytest.approx(70, abs=30)


def test_a_line_that_was_woken_again_has_waited_all_the_same(desk):
    job = desk.new()
    ago(desk, job, 900)
    desk.redis.zadd(desk.keys.waiting(desk.keys.queue("default")), {job: time.time() - 30})
    desk.redis.delete(desk.keys.queue("default"))
    assert desk.run(node.resend(desk.keys, queue=desk.keys.queue("default"), grace_s=1.0)) == 1

    assert of_class(desk).wait_s == pytest.approx(900, abs=30)


def test_a_node_counts_its_claims_sessions_and_pools(desk):
    idle_session(desk)
    desk.claim(desk.new())
    desk.redis.zadd(desk.keys.claims("n"), {desk.claim(desk.new()).job: 1.0})
    desk.redis.sadd(desk.keys.pools("n"), "n-1:default", "n-0:default")
    desk.redis.rpush(desk.keys.pool("n", "n-1", "default"), "x", "y")
    desk.redis.rpush(desk.keys.pool("n", "n-0", "default"), "z")
    desk.redis.hset(desk.keys.node("n"), mapping={"paused": "full,draining", "busy": 2, "slots": 4})

    (found,) = count(desk).nodes

    assert (found.name, found.slots, found.busy, found.is_dead, found.is_draining) == ("n", 4, 2, False, False)
    assert (found.claims, found.overdue, found.sessions, found.pools) == (2, 1, 1, {"default": 3})
    assert found.paused == {"full", "draining"}
    assert found.silent_s < 60


def test_the_tenants_of_the_operators_file_are_counted_and_no_other(desk):
    desk.redis.hset(desk.keys.tenants(), mapping={"acme": json.dumps({"running": 1})})
    desk.claim(desk.new())
    for _ in range(2):
        desk.new()
    desk.new(tenant="unnamed")
    desk.redis.hset(desk.keys.usage("acme", DAY), mapping={"cpu_s": 1.5, "bytes": 70})

    acme, default = count(desk).tenants

    assert tuple(acme) == ("acme", 2, 1, 0, 2, 1.5, 70.0)
    assert default.name == "default"
    assert count(desk).parked == 2


def test_no_file_of_thousands_of_tenants_makes_the_answer_long(desk):
    desk.redis.hset(desk.keys.tenants(), mapping={f"t{number}": "{}" for number in range(3000)})

    assert len(count(desk).tenants) == census.MAX_TENANTS


def test_each_end_counts_once_whoever_brought_it_about(desk):
    settled = desk.claim(desk.new())
    desk.bind(settled)
    desk.start(settled)
    for _ in range(2):
        desk.settle(settled)
    desk.cancel(desk.new(priority="batch"))
    lost = desk.claim(desk.new())
    desk.bind(lost)
    desk.start(lost)
    desk.give_up(lost, Why.NODE_LOST)

    assert count(desk).ended == {("default", "ok"): 1, ("batch", "cancelled"): 1, ("default", "lost"): 1}


def test_the_outbox_says_how_late_its_first_delivery_is(desk):
    desk.redis.zadd(desk.keys.webhook_due(), {"a": time.time() - 90, "b": time.time() + 90})

    assert count(desk).webhooks == 2
    assert count(desk).webhook_late_s == pytest.approx(90, abs=30)


def test_it_counts_where_redis_takes_no_writes(desk, new_redis):
    server = new_redis()
    with server.connect() as connection:
        desk = type(desk)(connection, desk.keys.prefix)
        desk.new()
        connection.config_set("min-replicas-to-write", 1)
        with pytest.raises(ResponseError):
            desk.new()

        assert of_class(desk).queued == 1


def test_it_counts_where_the_operator_refuses_info(desk, new_redis):
    server = new_redis()
    with server.connect() as connection:
        desk = type(desk)(connection, desk.keys.prefix)
        desk.new()
        connection.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])

        assert of_class(desk).queued == 1
        assert count(desk).memory == {}
