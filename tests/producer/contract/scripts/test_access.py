"""Do keys begin and end once, and is a job forgotten with all that is its own and nothing else?"""

from __future__ import annotations

import pytest

from leasebox.contract.scripts import access, answers, client, client_answers

KEY = {"key": "k", "digest": "d", "tenant": "acme", "scopes": ["admin"], "expires_at": None}


def test_a_key_of_a_taken_id_is_refused(desk):
    assert desk.run(access.create(desk.keys, **KEY))
    assert not desk.run(access.create(desk.keys, **{**KEY, "digest": "other"}))
    assert desk.redis.hget(desk.keys.api_key("k"), "digest") == b"d"


def test_an_unknown_key_is_neither_rotated_nor_revoked_into_being(desk):
    assert not desk.run(access.rotate(desk.keys, key="k", digest="d"))
    assert not desk.run(access.revoke(desk.keys, key="k"))
    assert not desk.redis.exists(desk.keys.api_key("k"))


def test_a_revoked_key_stays_so(desk):
    desk.run(access.create(desk.keys, **KEY))
    desk.run(access.revoke(desk.keys, key="k"))
    at = desk.redis.hget(desk.keys.api_key("k"), "revoked_at")

    assert not desk.run(access.rotate(desk.keys, key="k", digest="new"))
    assert desk.run(access.revoke(desk.keys, key="k"))
    assert desk.redis.hget(desk.keys.api_key("k"), "revoked_at") == at


@pytest.mark.parametrize("state", ["queued", "starting", "running"])
def test_a_job_that_has_not_ended_is_not_forgotten(desk, state):
    job = desk.new(session="s")
    if state != "queued":
        work = desk.claim(job)
        desk.bind(work)
    if state == "running":
        desk.start(work)
    before = desk.dump()

    assert desk.run(client.erase(desk.keys, job=job, tenant="acme")) == client_answers.NotFinished(state)
    assert desk.dump() == before


def test_a_forgotten_job_leaves_nothing_and_takes_nothing_of_others(desk):
    other = desk.new(session="s")
    desk.settle(desk_started(desk, other))
    job = desk.new(session="s", idempotency_key="k", callback_url="https://h.test/")
    desk.settle(desk_started(desk, job))

    assert desk.run(client.erase(desk.keys, job=job, tenant="other")) == answers.Gone()
    assert desk.run(client.erase(desk.keys, job=job, tenant="acme")) == client_answers.Erased()
    assert desk.run(client.erase(desk.keys, job=job, tenant="acme")) == answers.Gone()
    assert not [key for key in desk.dump() if job.encode() in key]
    assert desk.redis.exists(desk.keys.job(other), desk.keys.events(other), desk.keys.meta(other)) == 3
    assert desk.redis.zrange(desk.keys.recent("acme"), 0, -1) == [other.encode()]
    assert desk.redis.zcard(desk.keys.webhook_due()) == 0


def test_the_key_of_a_later_job_stays_when_the_earlier_one_is_forgotten(desk):
    first = desk.new(idempotency_key="k")
    desk.cancel(first)
    desk.redis.set(desk.keys.idem("acme", "k"), "later d")

    desk.run(client.erase(desk.keys, job=first, tenant="acme"))

    assert desk.redis.get(desk.keys.idem("acme", "k")) == b"later d"


def desk_started(desk, job):
    work = desk.claim(job)
    desk.bind(work)
    desk.start(work)
    return work
