"""Who is woken, who waits, and why? Wake-ups, back-off, full tenants and nodes, ages of sessions."""

from __future__ import annotations

import json

import pytest

from leasebox.contract.scripts import answers, client, client_answers, node


def tenants(desk, **limits):
    desk.redis.hset(desk.keys.tenants(), "default", json.dumps(limits))


def pass_time(desk, key, field, seconds):
    """Let a moment of the past be longer ago."""
    desk.redis.hset(key, field, float(desk.redis.hget(key, field) or 0) - seconds)


def test_resend_wakes_exactly_the_lines_whose_message_is_gone(desk):
    jobs = [desk.new() for _ in range(200)]
    queue = desk.keys.queue("default")
    assert desk.resend(queue) == 0
    messages = desk.redis.lrange(queue, 0, -1)  # newest first
    for message in messages[-30:]:
        desk.redis.lrem(queue, 1, message)

    assert desk.resend(queue, grace_s=60) == 0
    assert desk.resend(queue) == 30
    assert sorted(desk.messages()) == sorted(jobs)
    assert desk.resend(queue) == 0


def test_resend_wakes_at_most_64_lines_of_an_empty_queue_at_once(desk):
    for _ in range(100):
        desk.new()
    queue = desk.keys.queue("default")
    desk.redis.delete(queue)

    assert [desk.resend(queue) for _ in range(3)] == [64, 36, 0]
    assert desk.redis.llen(queue) == 100


def test_jobs_parked_behind_a_session_are_never_sent(desk):
    jobs = [desk.new(session="s") for _ in range(50)]
    desk.claim(jobs[0])
    desk.redis.delete(desk.keys.queue("default"))

    assert desk.resend(desk.keys.queue("default")) == 0
    assert desk.messages() == []


def test_a_job_in_back_off_is_woken_when_its_time_has_come(desk):
    job = desk.new()
    assert desk.give_up(desk.claim(job), "start_failed", backoff_s=(60,)) == answers.Requeued("")
    assert desk.messages() == [job]  # the first one, which nobody has taken
    assert desk.waiting() == [job]
    assert desk.acquire(job) == answers.Later("not_before")
    assert desk.expire().woken == 0

    desk.redis.hset(desk.keys.job(job), "not_before", 5)
    desk.redis.zadd(desk.keys.waiting(desk.keys.queue("default")), {job: 5})
    desk.redis.zadd(desk.keys.deferred(), {job: 5})

    assert desk.expire().woken == 1
    assert desk.messages() == [job, job]
    assert desk.expire().woken == 0
    assert desk.claim(job).starts == 1


def test_a_full_tenant_parks_its_lines_and_each_end_rouses_the_oldest(desk):
    tenants(desk, running=1)
    first, second, third = desk.new(), desk.new(), desk.new()
    work = desk.claim(first)
    assert desk.acquire(second) == answers.Later("tenant")
    assert desk.acquire(third) == answers.Later("tenant")
    assert desk.waiting() == []

    desk.redis.delete(desk.keys.queue("default"))
    desk.settle(work)

    assert desk.messages() == [second]
    assert desk.waiting() == [second]
    desk.settle(desk.claim(second))
    assert desk.messages()[-1] == third
    assert desk.redis.exists(desk.keys.parked("acme")) == 0


def test_what_a_full_tenant_submits_sends_no_message_that_others_would_wait_behind(desk):
    tenants(desk, running=1)
    work = desk.claim(desk.new())
    desk.redis.delete(desk.keys.queue("default"))
    answers_ = [desk.submit() for _ in range(3)] + [desk.submit(session="s")]
    blue = desk.new(tenant="blue")

    assert [answer.woken for answer in answers_] == [False] * 4
    assert desk.messages() == desk.waiting() == [blue]
    for answer in answers_:
        desk.settle(work)
        assert desk.messages()[-1] == answer.job
        work = desk.claim(answer.job)


def test_a_line_that_was_woken_in_vain_keeps_its_place_among_the_parked(desk):
    tenants(desk, running=1)
    first, second, third = desk.new(), desk.new(), desk.new()
    work = desk.claim(first)
    desk.acquire(third)
    desk.acquire(second)
    desk.settle(work)
    work = desk.claim(desk.new())  # another one was faster than the line that was woken
    assert desk.acquire(second) == answers.Later("tenant")

    desk.settle(work)

    assert desk.messages()[-1] == second
    assert [line.decode() for line in desk.redis.zrange(desk.keys.parked("acme"), 0, -1)] == [third]


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_the_end_of_a_woken_line_that_nobody_claimed_holds_no_parked_one_up(desk, end):
    tenants(desk, running=1)
    first, second, third = desk.new(), desk.new(expires_in_s=60), desk.new()
    work = desk.claim(first)
    for job in (second, third):
        desk.acquire(job)
    desk.settle(work)  # wakes the second
    if end == "cancelled":
        desk.cancel(second)
    else:
        desk.redis.zadd(desk.keys.expiring(), {second: 1})

    desk.expire()

    assert desk.messages()[-1] == third
    assert desk.waiting() == [third]
    desk.expire()
    assert not desk.redis.exists(desk.keys.parking())


def test_a_bound_that_is_raised_wakes_so_many_parked_lines_more(desk):
    tenants(desk, running=0)
    parked = [desk.new() for _ in range(3)]
    for job in parked:
        assert desk.acquire(job) == answers.Later("tenant")
    assert desk.expire().woken == 0

    tenants(desk, running=2)

    assert desk.expire().woken == 2
    assert desk.waiting() == parked[:2]
    for job in parked[:2]:
        desk.claim(job)
    assert desk.expire().woken == 0


def test_a_bound_that_is_taken_away_wakes_all_parked_lines_in_turns_of_64(desk):
    tenants(desk, running=0)
    for job in [desk.new() for _ in range(70)]:
        desk.acquire(job)
    desk.redis.delete(desk.keys.tenants())

    assert [desk.expire().woken for _ in range(3)] == [64, 6, 0]
    assert len(desk.waiting()) == 70


def test_a_parked_job_can_be_cancelled(desk):
    tenants(desk, running=1)
    desk.claim(desk.new())
    parked = desk.new()
    desk.acquire(parked)

    assert desk.cancel(parked) == answers.Cancelled()
    assert desk.redis.exists(desk.keys.parked("acme")) == 0


def test_a_full_node_leaves_the_job_to_others(desk):
    job = desk.new()
    desk.redis.delete(desk.keys.queue("default"))

    assert desk.acquire(job, room=False) == answers.Later("full")
    assert desk.messages() == [job]
    desk.run(node.pool_push(desk.keys, node="n", incarnation="n-1", profile="default", sandbox="warm"))
    answer = desk.acquire(job, room=False)
    assert isinstance(answer, answers.Leased)
    assert answer.sandbox == "warm"


def test_a_draining_node_takes_nothing_new(desk):
    job = desk.new()

    assert desk.acquire(job, draining=True) == answers.Later("draining")
    assert desk.waiting() == [job]


def test_a_job_with_limits_of_its_own_gets_no_warm_sandbox(desk):
    desk.run(node.pool_push(desk.keys, node="n", incarnation="n-1", profile="default", sandbox="warm"))

    assert isinstance(desk.acquire(desk.new(own_limits=True), room=True), answers.Cold)
    assert isinstance(desk.acquire(desk.new(own_limits=True), room=False), answers.Later)
    assert isinstance(desk.acquire(desk.new()), answers.Leased)


def test_a_pool_of_another_incarnation_is_gone_after_adopt(desk):
    desk.run(node.pool_push(desk.keys, node="n", incarnation="n-1", profile="default", sandbox="warm"))
    desk.register(incarnation="n-2")

    assert desk.redis.exists(desk.keys.pool("n", "n-1", "default"), desk.keys.pools("n")) == 0
    late = node.pool_push(desk.keys, node="n", incarnation="n-1", profile="default", sandbox="warm")
    assert desk.run(late) == answers.Fenced()


def test_a_session_past_its_age_goes_on_with_a_new_sandbox(desk):
    first, second = desk.new(session="s", max_age_s=100.0), desk.new(session="s")
    work = desk.claim(first)
    desk.bind(work)
    desk.start(work)
    pass_time(desk, desk.keys.session("acme", "s"), "age_from", 200)

    assert desk.settle(work, may_continue=True) == answers.Free(desk.keys.queue("default"), kill="box")
    desk.bind(desk.claim(second), "box2")
    assert desk.events(second)[-1][1:] == ("session_restarted", b'{"reason":"max_age"}')


def test_an_idle_session_is_swept_and_says_so_afterwards(desk):
    work = desk.claim(desk.new(session="s", idle_timeout_s=10.0))
    desk.bind(work)
    desk.start(work)
    desk.settle(work)
    pass_time(desk, desk.keys.session("acme", "s"), "used_at", 20)

    assert desk.sweep("s", 1) == answers.Kill("box", "idle")
    assert desk.redis.ttl(desk.keys.session("acme", "s")) > 86000
    assert desk.submit(session="s", must_exist=True) == client_answers.Expired("idle")
    desk.bind(desk.claim(job := desk.new(session="s")), "box2")
    assert desk.kinds(job) == ["queued", "session_restarted"]


def test_a_job_that_arrives_in_the_instant_of_the_sweep_wins(desk):
    work = desk.claim(desk.new(session="s", idle_timeout_s=1.0))
    desk.bind(work)
    desk.settle(work)
    pass_time(desk, desk.keys.session("acme", "s"), "used_at", 20)
    desk.new(session="s")

    assert desk.sweep("s", 1) == answers.Kept()


def test_a_session_that_never_had_a_sandbox_ends_when_idle(desk):
    desk.cancel(desk.new(session="s"))
    assert desk.expire().sessions == 0
    desk.redis.zadd(desk.keys.unbound(), {"acme/s": 1})

    assert desk.expire().sessions == 1
    assert desk.session("s")["state"] == "closed"
    assert not desk.redis.exists(desk.keys.tenant_sessions("acme"))


def test_touch_starts_the_idle_time_anew(desk):
    work = desk.claim(desk.new(session="s", idle_timeout_s=10.0))
    desk.bind(work)
    desk.settle(work)
    pass_time(desk, desk.keys.session("acme", "s"), "used_at", 20)
    touch = client.touch(desk.keys, tenant="acme", session="s")

    assert isinstance(desk.run(touch), client_answers.Touched)
    assert desk.sweep("s", 1) == answers.Kept()
    desk.close("s")
    assert desk.run(touch) == client_answers.Expired("closed")


def test_an_overdue_claim_is_taken_and_its_sandbox_is_not_trusted(desk):
    job = desk.new(session="s", retries=1)
    work = desk.claim(job)
    desk.bind(work)
    desk.start(work)
    overdue = node.overdue(desk.keys, job=job, lease=work.lease, backoff_s=(0,))
    assert desk.run(overdue) == answers.Kept()
    desk.redis.zadd(desk.keys.claims("n"), {job: 5})

    assert desk.run(overdue) == answers.Requeued(desk.keys.queue("default"))
    assert desk.session("s")["sandbox"] == ""
    assert desk.heartbeat((job, work.lease)) == answers.Alive((job,), ())


def test_a_heartbeat_moves_the_deadline_of_a_job_that_was_held(desk):
    work = desk.claim(desk.new())
    desk.start(work, deadline_s=1.0)
    before = desk.redis.zscore(desk.keys.claims("n"), work.job)

    desk.heartbeat((work.job, work.lease, 500.0))

    assert desk.redis.zscore(desk.keys.claims("n"), work.job) > before + 400


def test_a_heartbeat_tells_of_cancel_flags_and_leaves_young_claims_alone(desk):
    work, young = desk.claim(desk.new()), desk.claim(desk.new())
    desk.cancel(work.job)

    assert desk.heartbeat((work.job, work.lease), disown_after_s=5.0) == answers.Alive((), (work.job,))
    assert desk.job(young.job)["state"] == "starting"


def test_many_expired_jobs_end_64_at_a_time(desk):
    jobs = [desk.new(session="s", expires_in_s=60) for _ in range(70)]
    for job in jobs:
        desk.redis.hset(desk.keys.job(job), "expires_at", 1)

    assert desk.acquire(jobs[0]) == answers.More()
    assert desk.acquire(jobs[0]) == answers.Done()
    assert {desk.job(job)["outcome"] for job in jobs} == {"expired"}


def test_many_claims_are_given_up_64_at_a_time(desk):
    for _ in range(70):
        desk.claim(desk.new())

    assert [desk.reclaim(), desk.reclaim()] == [answers.Reclaimed(64, True), answers.Reclaimed(6, False)]


def test_closing_a_long_line_cancels_64_at_a_time(desk):
    jobs = [desk.new(session="s") for _ in range(70)]

    assert desk.close("s") == client_answers.Closed("closed", more=True)
    assert desk.close("s") == client_answers.Closed("closed")
    assert {desk.job(job)["outcome"] for job in jobs} == {"cancelled"}


@pytest.mark.parametrize("sandboxes", [1, 70])
def test_adopt_without_what_it_had_loses_all_its_sessions(desk, sandboxes):
    for number in range(sandboxes):
        work = desk.claim(desk.new(session=f"s{number}"))
        desk.bind(work, f"box{number}")
        desk.settle(work)

    while desk.register(incarnation="n-2").more:
        pass

    assert desk.redis.exists(desk.keys.node_sessions("n"), desk.keys.expiry("n")) == 0
