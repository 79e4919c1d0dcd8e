"""Is what is due delivered by one at a time, never forgotten, and told as it was?

Answers without fields are equal tuples whatever their kind, so kinds are compared.
"""

from __future__ import annotations

from typing import Any

import pytest

from leasebox.contract.scripts import answers, client, webhooks

URL = "https://hooks.test/in"
GONE_LEASE_S = -1.0


def claim(desk: Any, limit: int = 10, lease_s: float = 60.0) -> list[webhooks.Claim]:
    return list(desk.run(webhooks.claim(desk.keys, limit=limit, lease_s=lease_s)))


def settle(desk: Any, one: webhooks.Claim, error: str | None = None, wait_s: float | None = None) -> Any:
    status = 204 if error is None else 500
    return desk.run(webhooks.settle(desk.keys, claim=one, status=status, error=error, wait_s=wait_s))


def log(desk: Any, member: str) -> list[tuple[bytes, bytes, bytes]]:
    found = [fields for _, fields in desk.redis.xrange(desk.keys.webhook_log(member))]
    return [(entry[b"attempt"], entry[b"status"], entry[b"error"]) for entry in found]


@pytest.fixture
def ended(desk: Any) -> str:
    job: str = desk.new(callback_url=URL)
    desk.cancel(job)
    return job


def test_what_is_due_is_taken_once_and_is_over_when_it_was_delivered(desk, ended):
    (one,) = claim(desk)

    assert (one.member, one.attempt) == (ended, 1)
    assert claim(desk) == []
    assert isinstance(settle(desk, one), webhooks.Told)
    assert desk.redis.zcard(desk.keys.webhook_due()) == 0
    assert log(desk, ended) == [(b"1", b"204", b"")]
    assert 0 < desk.redis.ttl(desk.keys.webhook_log(ended)) <= desk.redis.ttl(desk.keys.job(ended))


def test_what_failed_is_due_again_after_its_wait(desk, ended):
    settle(desk, claim(desk)[0], error="no", wait_s=100)

    assert claim(desk) == []
    desk.redis.zadd(desk.keys.webhook_due(), {ended: 1})
    assert claim(desk)[0].attempt == 2
    entry = desk.redis.xrange(desk.keys.webhook_log(ended))[0][1]
    assert float(entry[b"next_at"]) == pytest.approx(float(entry[b"at"]) + 100)


def test_a_taker_that_died_is_followed_by_another_and_the_log_says_so(desk, ended):
    (first,) = claim(desk, lease_s=GONE_LEASE_S)
    (second,) = claim(desk)

    assert second.attempt == 2
    assert isinstance(settle(desk, first), webhooks.Taken)
    assert isinstance(settle(desk, second), webhooks.Told)
    assert [entry[0] for entry in log(desk, ended)] == [b"1", b"1", b"2"]
    assert log(desk, ended)[0] == (b"1", b"", b"its worker ended before it told")
    assert desk.redis.zcard(desk.keys.webhook_due()) == 0


def test_the_late_word_of_one_taker_ends_no_delivery_of_another(desk, ended):
    (first,) = claim(desk, lease_s=GONE_LEASE_S)
    claim(desk)

    assert isinstance(settle(desk, first), webhooks.Taken)
    assert desk.redis.zcard(desk.keys.webhook_due()) == 1


def test_the_outbox_lets_go_of_what_is_forgotten(desk, ended):
    settle(desk, claim(desk)[0], error="no", wait_s=0)
    (one,) = claim(desk)
    assert desk.redis.exists(desk.keys.webhook_log(ended))
    desk.run(client.erase(desk.keys, job=ended, tenant="acme"))
    desk.redis.zadd(desk.keys.webhook_due(), {"forgotten": 1})

    assert isinstance(settle(desk, one), answers.Gone)
    assert claim(desk) == []
    assert desk.redis.zcard(desk.keys.webhook_due()) == 0
    assert not desk.redis.exists(desk.keys.webhook_log(ended))


def test_a_replay_begins_anew_also_under_the_hands_of_a_taker(desk, ended):
    (one,) = claim(desk)
    replay = webhooks.replay_job(desk.keys, job=ended, tenant="acme")

    assert isinstance(desk.run(replay), webhooks.Queued)
    assert isinstance(settle(desk, one), webhooks.Taken)
    assert claim(desk)[0].attempt == 1


def test_only_the_end_of_ones_own_is_replayed(desk, ended):
    job, bare = desk.new(callback_url=URL), desk.new()

    assert isinstance(desk.run(webhooks.replay_job(desk.keys, job=ended, tenant="other")), answers.Gone)
    assert isinstance(desk.run(webhooks.replay_job(desk.keys, job=job, tenant="acme")), webhooks.NotEnded)
    assert isinstance(desk.run(webhooks.replay_job(desk.keys, job=bare, tenant="acme")), webhooks.NoCallback)


def test_a_batch_with_a_callback_is_taken_by_its_key(desk):
    given = {"batch": "b", "tenant": "acme", "name": None, "result_ttl_s": 60, "callback_url": URL}
    desk.run(client.open_batch(desk.keys, **given))
    desk.cancel(desk.new(batch="b"))
    assert isinstance(desk.run(webhooks.replay_batch(desk.keys, batch="b", tenant="acme")), webhooks.NotEnded)
    desk.run(client.seal(desk.keys, batch="b", tenant="acme"))

    (one,) = claim(desk)
    settle(desk, one)

    assert one.member == desk.keys.batch("b")
    assert isinstance(desk.run(webhooks.replay_batch(desk.keys, batch="b", tenant="other")), answers.Gone)
    assert isinstance(desk.run(webhooks.replay_batch(desk.keys, batch="b", tenant="acme")), webhooks.Queued)
    assert desk.redis.ttl(desk.keys.webhook_log(one.member)) > 0


def test_a_try_out_is_delivered_like_any_other(desk):
    desk.run(webhooks.try_out(desk.keys, test="t", tenant="acme", url=URL))

    (one,) = claim(desk)

    assert one.member == desk.keys.webhook_test("t")
    assert 0 < desk.redis.ttl(one.member) <= webhooks.TEST_KEPT_S


def test_no_more_is_taken_than_asked_for(desk):
    for _ in range(3):
        desk.cancel(desk.new(callback_url=URL))

    assert len(claim(desk, limit=2)) == 2
    assert len(claim(desk, limit=2)) == 1
