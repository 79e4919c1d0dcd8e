"""May every script be called twice, and does one that fails leave nothing behind?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from leasebox.contract.audit import START, Door, Record, Signer
from leasebox.contract.scripts import access, answers, audit, client, metrics, node, webhooks, worker


def session_job(desk, **fields):
    return desk.new(
        session="s", batch="b", callback_url="https://h.test/", idempotency_key="k", expires_in_s=60, **fields
    )


def running(desk, **fields):
    work = desk.claim(session_job(desk, **fields))
    desk.bind(work)
    desk.start(work)
    return work


def idle(desk):
    desk.settle(running(desk))


# Each prepares, then answers a call that can be made twice.
CALLS: dict[str, Callable[[Any], Callable[[], Any]]] = {}


def call(make):
    CALLS[make.__name__] = make
    return make


@call
def submit(desk):
    record = desk.record(session="s", batch="b", idempotency_key="k", blobs=("x",), expires_in_s=60)
    desk.redis.set(desk.keys.blob("x"), "data")
    return lambda: desk.run(client.submit(desk.keys, record=record)).job


@call
def open_session(desk):
    given = {"tenant": "acme", "session": "s", "profile": None, "idle_timeout_s": 9, "max_age_s": 99}
    return lambda: desk.run(client.open_session(desk.keys, **given))._replace(created=True)


@call
def feed(desk):
    job = desk.new(stdin_open=True)
    return lambda: desk.run(client.feed(desk.keys, job=job, tenant="acme", writer="w", n=1, data=b"in"))


@call
def taken(desk):
    work = running(desk, stdin_open=True)
    desk.run(client.feed(desk.keys, job=work.job, tenant="acme", writer="w", n=1, data=b"in"))
    entry = desk.redis.xrange(desk.keys.stdin(work.job))[0][0].decode()
    return lambda: desk.run(worker.taken(desk.keys, job=work.job, lease=work.lease, entry=entry))


@call
def open_batch(desk):
    given = {"batch": "b", "tenant": "acme", "name": "n", "result_ttl_s": 60}
    return lambda: desk.run(client.open_batch(desk.keys, **given))


@call
def seal(desk):
    idle(desk)
    return lambda: desk.run(client.seal(desk.keys, batch="b", tenant="acme"))


@call
def cancel_batch(desk):
    running(desk)
    desk.new(session="s", batch="b")
    return lambda: desk.run(client.cancel_batch(desk.keys, batch="b", tenant="acme"))


@call
def cancel_of_a_claimed_job(desk):
    work = running(desk)
    return lambda: desk.cancel(work.job)


@call
def close_of_a_busy_session(desk):
    running(desk)
    desk.new(session="s")
    return lambda: desk.close("s")


@call
def close_of_an_idle_session(desk):
    idle(desk)
    return lambda: desk.close("s")


@call
def acquire(desk):
    job = session_job(desk)
    return lambda: desk.acquire(job, lease="n-1:a")


@call
def acquire_from_the_pool(desk):
    desk.run(node.pool_push(desk.keys, node="n", incarnation="n-1", profile="default", sandbox="warm"))
    job = session_job(desk)
    return lambda: desk.acquire(job, lease="n-1:a")


@call
def bind(desk):
    work = desk.claim(session_job(desk))
    return lambda: desk.bind(work)


@call
def start(desk):
    work = desk.claim(session_job(desk))
    desk.bind(work)
    return lambda: desk.start(work)


@call
def emit(desk):
    work = running(desk)
    chunks = [worker.Chunk(16, "stdout", b"a"), worker.Chunk(17, "display", b'{"bundle":{}}')]
    return lambda: desk.emit(work, *chunks)


@call
def settle_and_free(desk):
    work = running(desk)
    return lambda: replace(desk.settle(work, last_chunks=[worker.Chunk(16, "stdout", b"a")]), again=True)


@call
def settle_and_go_on(desk):
    work = running(desk)
    desk.new(session="s")
    return lambda: replace(desk.settle(work, may_continue=True), again=True)


@call
def heartbeat_that_disowns(desk):
    running(desk)
    return desk.heartbeat


@call
def adopt(desk):
    running(desk)
    found = [answers.FoundSandbox("acme/s", 1, "box")]
    return lambda: desk.register(incarnation="n-2", found=found)


@call
def reclaim(desk):
    running(desk)
    return lambda: type(desk.reclaim())


@call
def expire(desk):
    job = session_job(desk)
    desk.redis.hset(desk.keys.job(job), "expires_at", 1)
    desk.redis.zadd(desk.keys.expiring(), {job: 1})
    return lambda: type(desk.expire())


@call
def touch(desk):
    idle(desk)
    return lambda: desk.run(client.touch(desk.keys, tenant="acme", session="s"))


@call
def pool_push(desk):
    given = {"node": "n", "incarnation": "n-1", "profile": "default", "sandbox": "warm"}
    return lambda: desk.run(node.pool_push(desk.keys, **given))


@call
def pool_drop(desk):
    given = {"node": "n", "incarnation": "n-1", "profile": "default", "sandbox": "warm"}
    desk.run(node.pool_push(desk.keys, **given))
    return lambda: type(desk.run(node.pool_drop(desk.keys, **given))) in (answers.Dropped, answers.Kept)


@call
def measure(desk):
    idle(desk)
    return lambda: desk.run(metrics.measure(desk.keys, tenant="acme", session="s"))


@call
def measured(desk):
    idle(desk)
    return lambda: desk.run(metrics.measured(desk.keys, line="acme/s", sandbox=desk.session("s")["sandbox"], json="{}"))


@call
def publish(desk):
    given = {"node": "n", "incarnation": "n-1", "profiles": {"default": '{"digest":"d"}'}, "digest": "d"}
    given |= {"quotas": {"acme": '{"queued":1}'}, "quotas_digest": "q"}
    return lambda: desk.run(node.publish(desk.keys, **given))


@call
def key_create(desk):
    given = {"key": "k", "digest": "d", "tenant": "acme", "scopes": ["admin"], "expires_at": 9.0}
    return lambda: desk.run(access.create(desk.keys, **given))


@call
def key_rotate(desk):
    key_create(desk)()
    return lambda: desk.run(access.rotate(desk.keys, key="k", digest="other"))


@call
def key_revoke(desk):
    key_create(desk)()
    return lambda: desk.run(access.revoke(desk.keys, key="k"))


def ended_with_callback(desk):
    job = desk.new(callback_url="https://h.test/")
    desk.cancel(job)
    return job


@call
def webhook_claim(desk):
    ended_with_callback(desk)
    return lambda: type(desk.run(webhooks.claim(desk.keys, limit=1, lease_s=60)))


@call
def webhook_settle(desk):
    ended_with_callback(desk)
    (claim,) = desk.run(webhooks.claim(desk.keys, limit=1, lease_s=60))
    return lambda: desk.run(webhooks.settle(desk.keys, claim=claim, status=500, error="no", wait_s=5))


@call
def webhook_replay(desk):
    job = ended_with_callback(desk)
    return lambda: desk.run(webhooks.replay_job(desk.keys, job=job, tenant="acme"))


@call
def webhook_test(desk):
    given = {"test": "t", "tenant": "acme", "url": "https://h.test/"}
    return lambda: desk.run(webhooks.try_out(desk.keys, **given))


@call
def audit_append(desk):
    entries = Signer().chained(START, [Record(1.0, Door.CLI, "a"), Record(2.0, Door.CLI, "b")])
    return lambda: desk.run(audit.append(desk.keys, head=START, entries=entries, keep=100))


TIMED = (
    "heartbeat_that_disowns",
    "touch",
    "open_batch",
    "measure",
    "measured",
    "webhook_replay",
)  # each call notes the time, or asks


@pytest.mark.parametrize("name", [name for name in CALLS if name not in TIMED])
def test_a_repeated_call_answers_the_same_and_changes_nothing(desk, name):
    repeat = CALLS[name](desk)
    first = repeat()
    before = desk.dump()

    assert repeat() == first
    assert changed(before, desk.dump()) == []


def changed(before, after):
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def test_a_second_heartbeat_moves_nothing_but_the_nodes_counter(desk):
    running(desk)
    desk.heartbeat()
    before = desk.dump()

    assert desk.heartbeat() == answers.Alive((), ())

    allowed = {desk.keys.nodes().encode(), desk.keys.node("n").encode()}
    assert set(changed(before, desk.dump())) <= allowed


@pytest.mark.parametrize("name", CALLS)
def test_a_key_of_the_wrong_type_stops_a_script_before_it_writes(desk, name):
    """Whatever key a call changes: were it of another type, nothing would be written."""
    touched = keys_changed_by(desk, name)
    refused = 0
    for number, key in enumerate(touched):
        other = type(desk)(desk.redis, f"{desk.keys.prefix}x{number}")
        other.register()
        repeat = CALLS[name](other)
        spoil(other, key.replace(desk.keys.prefix, other.keys.prefix))
        before = other.dump()

        try:
            repeat()
        except ResponseError:
            refused += 1
            assert changed(before, other.dump()) == [], key
    assert refused


def keys_changed_by(desk, name):
    repeat = CALLS[name](desk)
    before = desk.dump()
    repeat()
    return [key.decode() for key in changed(before, desk.dump()) if key.decode().startswith(desk.keys.prefix)]


def spoil(desk, key):
    kind = desk.redis.type(key)
    desk.redis.delete(key)
    if kind == b"string":
        desk.redis.rpush(key, "wrong")
    else:
        desk.redis.set(key, "wrong")
