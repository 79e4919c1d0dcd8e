"""What is counted, kept and delivered? Quotas, batches, blobs, input, webhooks, results for Celery."""

from __future__ import annotations

import json

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from leasebox.contract import errors, wire
from leasebox.contract.result import Result
from leasebox.contract.scripts import answers, client, client_answers, worker


def limit(desk, **limits):
    desk.redis.hset(desk.keys.tenants(), "acme", json.dumps(limits))


def run(desk, job):
    work = desk.claim(job)
    desk.bind(work)
    desk.start(work)
    return desk.settle(work)


def test_a_tenant_may_queue_so_many_jobs_and_no_more(desk):
    limit(desk, queued=2)
    first = desk.new()
    desk.new()

    assert desk.submit() == client_answers.Quota("queued", 1.0, 2.0)
    desk.claim(first)
    assert isinstance(desk.submit(), client_answers.Accepted)


def test_a_tenant_may_submit_so_often_and_is_told_what_is_left(desk, eventually):
    eventually(lambda: desk.redis.time()[0] % 60 < 55, within_s=30)  # no minute ends while submits are counted
    limit(desk, submits_per_minute=2)
    first, second = desk.submit(), desk.submit()
    answer = desk.submit()

    assert [(one.pace.bound, one.pace.left) for one in (first, second)] == [(2, 1), (2, 0)]
    assert (answer.which, answer.bound) == ("submits_per_minute", 2.0)
    assert 0 < answer.retry_after <= second.pace.reset_s <= 60
    assert desk.submit(tenant="other").pace is None


def test_a_repeat_is_no_further_submit(desk):
    limit(desk, submits_per_minute=2)
    job = desk.new(idempotency_key="k")
    for _ in range(3):
        assert desk.submit(idempotency_key="k") == client_answers.Existing(job, "queued")

    assert isinstance(desk.submit(), client_answers.Accepted)


def test_a_minute_begins_anew_on_the_clock_of_redis(desk):
    limit(desk, submits_per_minute=1)
    this = int(desk.redis.time()[0]) // 60
    desk.redis.set(f"{desk.keys.prefix}:tenant:acme:submits:{this - 1}", 1)

    assert isinstance(desk.submit(), client_answers.Accepted)


def test_a_tenant_may_have_so_many_sessions(desk):
    limit(desk, sessions=1)
    desk.new(session="a")

    assert desk.submit(session="b") == client_answers.Quota("sessions", 1.0, 1.0)
    assert isinstance(desk.submit(session="a"), client_answers.Accepted)
    desk.close("a")
    assert isinstance(desk.submit(session="b"), client_answers.Accepted)


@pytest.mark.parametrize(("quota", "bound"), [("cpu_s_per_day", 0.1), ("bytes_per_day", 7)])
def test_what_the_jobs_of_a_day_used_is_counted(desk, quota, bound):
    limit(desk, **{quota: bound})
    work = desk.claim(desk.new())
    desk.start(work)
    desk.settle(work, end=desk.ending(work.job)._replace(output_bytes=7))

    answer = desk.submit()

    assert (answer.which, answer.bound) == (quota, bound)


@pytest.mark.parametrize(("quota", "field"), [("cpu_s_per_day", "cpu_s"), ("bytes_per_day", "bytes")])
def test_a_day_ends_at_midnight_utc_and_not_24_hours_after_the_use(desk, quota, field):
    limit(desk, **{quota: 5})
    day, since_s = divmod(float(desk.redis.time()[0]), 86400)
    desk.redis.hset(desk.keys.usage("acme", int(day) - 1), field, 5)
    desk.redis.hset(desk.keys.usage("acme", int(day)), field, 4.9)

    assert isinstance(desk.submit(), client_answers.Accepted)
    desk.redis.hset(desk.keys.usage("acme", int(day)), field, 5)
    answer = desk.submit()
    assert (answer.which, answer.bound) == (quota, 5.0)
    assert answer.retry_after == pytest.approx(86400 - since_s, abs=30)


def test_use_is_kept_until_its_day_is_over_and_not_for_ever(desk):
    limit(desk, cpu_s_per_day=1)
    run(desk, desk.new())
    day = int(desk.redis.time()[0]) // 86400

    assert 86400 < desk.redis.ttl(desk.keys.usage("acme", day)) <= 172800


def test_a_tenant_of_its_own_is_not_bound_by_what_holds_for_all_others(desk):
    limit(desk, sessions=9)
    desk.redis.hset(desk.keys.tenants(), "default", '{"queued": 0}')

    assert isinstance(desk.submit(), client_answers.Accepted)
    assert desk.submit(tenant="other") == client_answers.Quota("queued", 1.0, 0.0)


def test_a_full_queue_takes_no_more(desk):
    desk.redis.hset(desk.keys.settings(), "queue_max_jobs", 1)
    desk.new()

    assert desk.submit() == client_answers.Full(1.0, 1, 1)
    assert desk.submit(priority="batch").job


@pytest.mark.parametrize(("field", "bound"), [("idle_timeout_s", 20.0), ("max_age_s", 60.0)])
def test_a_session_may_live_as_long_as_the_operator_allows_and_no_longer(desk, field, bound):
    desk.redis.hset(desk.keys.settings(), mapping={"idle_timeout_s": 5, "max_idle_timeout_s": 20, "max_age_s": 60})
    given = {"tenant": "acme", "profile": None}

    assert desk.run(client.open_session(desk.keys, session="s", **given, **{field: bound})).created
    opened = desk.run(client.open_session(desk.keys, session="t", **given, **{field: bound + 0.1}))
    assert opened == client_answers.Beyond(field, bound)
    assert desk.submit(session="u", **{field: bound + 0.1}) == client_answers.Beyond(field, bound)
    assert desk.session("t") == desk.session("u") == {}


def test_a_session_takes_the_operators_times_where_it_asks_for_none(desk):
    opened = desk.run(client.open_session(desk.keys, tenant="acme", session="a", profile=None))
    assert (opened.idle_timeout_s, opened.max_age_s) == (1800.0, 86400.0)

    desk.redis.hset(desk.keys.settings(), mapping={"idle_timeout_s": 5, "max_age_s": 60})
    desk.new(session="b")

    assert (desk.session("b")["idle_timeout_s"], desk.session("b")["max_age_s"]) == ("5", "60")


def test_an_idempotency_key_names_its_job_and_lives_a_while_after_it(desk):
    job = desk.new(idempotency_key="k")

    assert desk.submit(idempotency_key="k") == client_answers.Existing(job, "queued")
    assert desk.submit(idempotency_key="k", digest="other") == client_answers.Conflict(job)
    assert desk.redis.ttl(desk.keys.idem("acme", "k")) == -1
    run(desk, job)
    assert desk.redis.ttl(desk.keys.idem("acme", "k")) > 0
    desk.redis.delete(desk.keys.job(job))
    assert isinstance(desk.submit(idempotency_key="k"), client_answers.Accepted)


def test_a_blob_stays_while_a_job_needs_it(desk):
    assert desk.submit(blobs=("x",)) == client_answers.BlobGone("x")
    desk.redis.set(desk.keys.blob("x"), "data", ex=9)
    first, second = desk.new(blobs=("x",)), desk.new(blobs=("x",))

    run(desk, first)
    assert desk.redis.ttl(desk.keys.blob("x")) == -1
    desk.cancel(second)
    assert 0 < desk.redis.ttl(desk.keys.blob("x")) <= 3600
    assert not desk.redis.exists(desk.keys.blob_jobs("x"))


def test_a_batch_may_be_there_before_its_jobs_and_belongs_to_its_tenant(desk):
    given = {"batch": "b", "tenant": "acme", "name": "nightly", "result_ttl_s": 60}

    assert desk.run(client.open_batch(desk.keys, **given)) == client_answers.BatchOpened()
    desk.new(batch="b")
    assert desk.run(client.open_batch(desk.keys, **given)) == client_answers.BatchOpened()
    assert desk.run(client.open_batch(desk.keys, **{**given, "tenant": "other"})) == client_answers.BatchTaken()

    assert desk.redis.hmget(desk.keys.batch("b"), "name", "total") == [b"nightly", b"1"]
    assert desk.redis.zscore(desk.keys.batches(), "b")


def test_opening_a_batch_again_keeps_it_open_but_opens_no_sealed_one(desk):
    open_batch = client.open_batch(desk.keys, batch="b", tenant="acme", name=None, result_ttl_s=60)
    desk.run(open_batch)
    desk.redis.zadd(desk.keys.batches(), {"b": 1})

    desk.run(open_batch)
    assert desk.redis.zscore(desk.keys.batches(), "b") > 1
    desk.run(client.seal(desk.keys, batch="b", tenant="acme"))
    desk.run(open_batch)
    assert desk.redis.zscore(desk.keys.batches(), "b") is None


def test_a_repeat_says_to_which_batch_the_earlier_job_belongs(desk):
    job = desk.new(batch="b", idempotency_key="k")

    assert desk.submit(batch="c", idempotency_key="k") == client_answers.Existing(job, "queued", "b")
    assert not desk.redis.exists(desk.keys.batch("c"))


def test_each_end_in_a_batch_rings_its_bell(desk):
    with desk.redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(desk.keys.bell())
        listener.get_message(timeout=1)
        job = desk.new(batch="b")
        desk.cancel(job)
        desk.run(client.seal(desk.keys, batch="b", tenant="acme"))
        rung = [m["data"] for _ in range(6) if (m := listener.get_message(timeout=0.2))]

    assert rung == [job.encode(), job.encode(), b"b", b"b"]


def test_a_sealed_batch_is_finished_with_its_last_job(desk):
    given = {"batch": "b", "tenant": "acme", "name": None, "result_ttl_s": 60, "callback_url": "https://h.test/"}
    desk.run(client.open_batch(desk.keys, **given))
    first, second = desk.new(batch="b"), desk.new(batch="b", batch_key="row 2")
    desk.new(batch="b")
    desk.cancel(first)
    run(desk, second)
    seal = client.seal(desk.keys, batch="b", tenant="acme")

    assert desk.run(seal) == client_answers.Sealed(3, 2)
    assert desk.submit(batch="b") == client_answers.Refused("batch_closed")
    desk.run(client.cancel_batch(desk.keys, batch="b", tenant="acme"))

    entries = [fields for _, fields in desk.redis.xrange(desk.keys.batch_events("b"))]
    assert [fields[b"type"] for fields in entries] == [b"done"] * 3 + [b"finished"]
    assert json.loads(entries[1][b"json"]) == {"job": second, "index": 1, "key": "row 2", "outcome": "ok"}
    assert json.loads(entries[3][b"json"]) == {"total": 3, "done": 3, "by_outcome": {"cancelled": 2, "ok": 1}}
    assert [member.decode() for member in desk.redis.zrange(desk.keys.webhook_due(), 0, -1)] == [desk.keys.batch("b")]
    assert desk.redis.ttl(desk.keys.batch("b")) > 0


def test_input_is_taken_once_in_order_up_to_a_bound(desk):
    job = desk.new(stdin_open=True)

    def feed(n, data=b"x", **fields):
        call = client.feed(desk.keys, **{"job": job, "tenant": "acme", "writer": "w", "n": n, "data": data, **fields})
        return desk.run(call)

    assert [feed(1), feed(1), feed(1, writer="v")] == [client_answers.Fed()] * 3
    assert desk.redis.xlen(desk.keys.stdin(job)) == 2
    assert feed(2, b"y" * client.STDIN_MAX_BYTES) == client_answers.InputFull(0.05)
    assert feed(2, b"y" * (client.STDIN_MAX_BYTES - 2)) == client_answers.Fed()
    desk.redis.xtrim(desk.keys.stdin(job), maxlen=1)
    assert isinstance(feed(3, b"zzz"), client_answers.InputFull)
    desk.redis.xtrim(desk.keys.stdin(job), maxlen=0)
    assert feed(3, b"z", eof=True) == client_answers.Fed()
    assert feed(4) == client_answers.WrongState("eof")
    assert feed(1, job="none") == answers.Gone()
    job = desk.new()
    assert feed(1) == client_answers.WrongState("queued")


def test_input_is_bound_by_its_pieces_too(desk, monkeypatch):
    monkeypatch.setattr(client, "STDIN_MAX_ENTRIES", 2)
    job = desk.new(stdin_open=True)

    found = [desk.run(client.feed(desk.keys, job=job, tenant="acme", writer="w", n=n, data=b"x")) for n in (1, 2, 3)]
    assert found == [client_answers.Fed(), client_answers.Fed(), client_answers.InputFull(0.05)]


def test_what_the_guest_has_taken_makes_room_for_more(desk):
    job = desk.new(stdin_open=True)
    work = desk.claim(job)

    def feed(n, data):
        return desk.run(client.feed(desk.keys, job=job, tenant="acme", writer="w", n=n, data=data))

    def taken(entry, **fields):
        return desk.run(worker.taken(desk.keys, **{"job": job, "lease": work.lease, "entry": entry, **fields}))

    half = b"x" * (client.STDIN_MAX_BYTES // 2)
    assert [feed(1, half), feed(2, half), feed(3, b"y")] == [
        client_answers.Fed(),
        client_answers.Fed(),
        client_answers.InputFull(0.05),
    ]
    first, _ = (entry.decode() for entry, _ in desk.redis.xrange(desk.keys.stdin(job)))
    before = desk.dump()
    assert [taken(first, lease="n-0:1"), taken(first, job="none")] == [answers.LeaseLost(), answers.Gone()]
    assert desk.dump() == before

    assert taken(first) == answers.Taken()
    assert feed(3, half) == client_answers.Fed()
    assert [fields[b"data"] for _, fields in desk.redis.xrange(desk.keys.stdin(job))] == [half, half]


def test_output_is_appended_once_and_never_after_the_end(desk):
    work = desk.claim(desk.new())
    desk.bind(work)
    desk.start(work)
    first, second = worker.Chunk(16, "stdout", b"a"), worker.Chunk(17, "stderr", b"b")
    desk.emit(work, first)
    desk.emit(work, first, second)
    desk.emit(work, first, second)
    desk.settle(work, last_chunks=[second, worker.Chunk(18, "display", b"{}")])

    assert desk.emit(work, worker.Chunk(19, "stdout", b"late")) == answers.LeaseLost()
    assert desk.kinds(work.job) == ["queued", "started", "stdout", "stderr", "display", "finished"]


def test_a_stream_that_has_expired_stays_away(desk):
    work = desk.claim(desk.new())
    desk.start(work)
    desk.redis.delete(desk.keys.events(work.job))

    desk.emit(work, worker.Chunk(16, "stdout", b"a"))
    desk.settle(work)

    assert not desk.redis.exists(desk.keys.events(work.job))


def test_a_job_with_a_callback_is_put_into_the_outbox(desk):
    job = desk.new(callback_url="https://h.test/")
    desk.cancel(job)

    assert desk.redis.zscore(desk.keys.webhook_due(), job) is not None


@pytest.fixture
def celery_app(redis_server):
    return Celery(broker="memory://", backend=f"{redis_server.url}?virtual_host=0")


def test_celery_reads_the_result_of_a_job_that_ran(desk, celery_app):
    job = desk.new()
    run(desk, job)

    assert celery_app.AsyncResult(job).get(timeout=30) == {"job": job, "outcome": "ok"}


def test_celery_raises_for_a_job_that_was_cancelled(desk, celery_app):
    job = desk.new()
    desk.cancel(job)

    with pytest.raises(TaskRevokedError):
        celery_app.AsyncResult(job).get(timeout=30)


def test_celery_raises_our_error_for_a_job_that_was_lost(desk, celery_app):
    work = desk.claim(desk.new())
    desk.start(work)
    desk.give_up(work, "sandbox_died", detail='It said "no".')

    with pytest.raises(errors.JobLost, match=r'sandbox died under it\. It said "no"'):
        celery_app.AsyncResult(work.job).get(timeout=30)


@pytest.mark.parametrize("outcome", ["cancelled", "expired", "lost", "infra"])
def test_the_endings_of_scripts_are_results(desk, outcome):
    job = desk.new(session="s", metadata_json='{"a":"b"}', expires_in_s=9)
    if outcome == "cancelled":
        desk.cancel(job)
    elif outcome == "expired":
        desk.redis.zadd(desk.keys.expiring(), {job: 1})
        desk.expire()
    else:
        work = desk.claim(job)
        desk.bind(work)
        desk.start(work)
        desk.give_up(work, "node_lost" if outcome == "lost" else "guest_protocol")

    meta = json.loads(desk.redis.get(desk.keys.meta(job)))
    result = Result.model_validate(meta["result"]["result"])
    assert (result.job, result.outcome, result.session, result.metadata) == (job, outcome, "s", {"a": "b"})
    assert result.node == ("n" if outcome in ("lost", "infra") else None)
    finished = json.loads(desk.events(job)[-1][2])
    assert Result.model_validate(finished["result"]) == result
    assert meta["date_done"].startswith("20")
    assert meta["task_id"] == job


def test_a_lost_session_keeps_its_own_error_class():
    meta = json.loads(wire.meta_text("j", "lost", "{}", done_at=0, message="idle", exc_type="SessionExpired"))

    assert meta["result"]["exc_type"] == "SessionExpired"
    assert meta["date_done"] == "1970-01-01T00:00:00+00:00"


def test_a_file_operation_counts_as_activity_and_not_as_an_execution(desk):
    def run(kind: str) -> dict[str, str]:
        work = desk.claim(desk.new(session="s", kind=kind))
        if not desk.session("s").get("sandbox"):
            desk.bind(work)
        desk.start(work)
        desk.settle(work)
        return desk.session("s")

    first = run("command")
    second = run("file")

    assert (first["executions"], second["executions"], second["last_exit_code"]) == ("1", "1", "0")
    assert float(second["used_at"]) > float(first["used_at"])
