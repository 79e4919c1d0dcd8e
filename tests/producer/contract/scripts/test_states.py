"""Does every script answer in every state as the protocol says, and write nothing where it must not?"""

from __future__ import annotations

import pytest

from leasebox.contract.scripts import answers, client_answers, worker

SESSION = "s"
STATES = ("absent", "behind", "head", "starting", "running", "finished")
LOST = answers.LeaseLost()


class Case:
    """A job of a session in a given state, and a lease that held it (or never did)."""

    def __init__(self, desk, state, *, must_hold=False):
        self.desk, self.state = desk, state
        self.job = "absent"
        self.work = None
        if state == "absent":
            self.work = self.stale()
            return
        if state == "behind":
            desk.claim(desk.new(session=SESSION, digest="first"))
        self.job = desk.new(session=SESSION, expires_in_s=3600)
        if state in ("starting", "running", "finished"):
            self.work = desk.claim(self.job)
        if state in ("running", "finished"):
            desk.bind(self.work)
            desk.start(self.work)
        if state == "finished":
            desk.settle(self.work)
        if not must_hold or self.work is None:
            self.work = self.stale()

    def stale(self):
        fields = dict.fromkeys(answers.Work._fields)
        return answers.Work(**{**fields, "job": self.job, "lease": "n-0:1", "claims": 1})


def make_due(desk, job):
    desk.redis.hset(desk.keys.job(job), "expires_at", 1)
    desk.redis.zadd(desk.keys.expiring(), {job: 1})


STALE = {
    "bind": lambda desk, work: desk.bind(work, "other"),
    "start": lambda desk, work: desk.start(work),
    "emit": lambda desk, work: desk.emit(work, worker.Chunk(16, "stdout", b"x")),
    "taken": lambda desk, work: desk.run(worker.taken(desk.keys, job=work.job, lease=work.lease, entry="1-1")),
    "settle": lambda desk, work: desk.settle(work),
    "give_up": lambda desk, work: desk.give_up(work, "node_lost"),
}


@pytest.mark.parametrize("script", STALE)
@pytest.mark.parametrize("state", STATES)
def test_a_call_without_the_lease_changes_nothing(desk, state, script):
    case = Case(desk, state)
    before = desk.dump()

    answer = STALE[script](desk, case.work)

    assert answer == (answers.Gone() if state == "absent" else LOST)
    assert desk.dump() == before


@pytest.mark.parametrize("state", STATES[1:])
def test_submit_of_the_same_job_answers_existing_and_changes_nothing(desk, state):
    case = Case(desk, state)
    before = desk.dump()

    answer = desk.submit(case.job, session=SESSION)

    assert isinstance(answer, client_answers.Existing)
    assert answer.job == case.job
    assert desk.submit(case.job, digest="other") == client_answers.Conflict(case.job)
    assert desk.dump() == before


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("absent", answers.Gone()),
        ("behind", answers.Busy()),
        ("starting", answers.Busy()),
        ("running", answers.Busy()),
        ("finished", answers.Done()),
    ],
)
def test_acquire_of_what_is_not_to_be_had_changes_nothing(desk, state, expected):
    case = Case(desk, state)
    before = desk.dump()

    assert desk.acquire(case.job) == expected
    assert desk.dump() == before


def test_acquire_by_a_job_behind_others_claims_the_head(desk):
    head, behind = desk.new(session=SESSION), desk.new(session=SESSION)

    assert desk.claim(behind).job == head


@pytest.mark.parametrize("state", ["starting", "running"])
def test_acquire_with_the_same_lease_answers_the_same(desk, state):
    case = Case(desk, state, must_hold=True)
    before = desk.dump()

    again = desk.claim(case.job, lease=case.work.lease)

    assert (again.job, again.claims, again.lease) == (case.job, 1, case.work.lease)
    assert desk.dump() == before


@pytest.mark.parametrize(
    ("state", "expected", "after"),
    [
        ("absent", answers.Gone(), None),
        ("behind", answers.Cancelled(), "finished"),
        ("head", answers.Cancelled(), "finished"),
        ("starting", client_answers.Requested(), "starting"),
        ("running", client_answers.Requested(), "running"),
        ("finished", client_answers.AlreadyFinished("ok"), "finished"),
    ],
)
def test_cancel(desk, state, expected, after):
    case = Case(desk, state)

    assert desk.cancel(case.job) == expected
    assert desk.job(case.job).get("state") == after
    assert desk.cancel(case.job, tenant="other") == answers.Gone()


@pytest.mark.parametrize(
    ("state", "after"),
    [("behind", "finished"), ("head", "finished"), ("starting", "starting"), ("running", "running")],
)
def test_expire_ends_only_what_waits(desk, state, after):
    case = Case(desk, state)
    make_due(desk, case.job)

    desk.expire()

    assert desk.job(case.job)["state"] == after
    assert not desk.redis.exists(desk.keys.expiring())


def test_expire_leaves_a_job_whose_code_had_started(desk):
    job = desk.new(retries=1, expires_in_s=3600)
    work = desk.claim(job)
    desk.bind(work)
    desk.start(work)
    desk.give_up(work, "node_lost")
    make_due(desk, job)

    assert desk.expire().jobs == 0


@pytest.mark.parametrize("outcome", ["cancelled", "rejected", "infra", "lost"])
def test_a_job_that_never_started_can_be_settled(desk, outcome):
    case = Case(desk, "starting", must_hold=True)

    assert desk.settle(case.work, outcome) == answers.Free("")
    assert desk.job(case.job)["outcome"] == outcome


def test_start_asked_again_with_its_frame_answers_the_same_and_with_another_is_refused(desk):
    case = Case(desk, "running", must_hold=True)
    before = desk.dump()

    assert desk.start(case.work) == answers.Go(1)
    assert desk.start(case.work, frame="other") == LOST
    assert desk.dump() == before


def test_start_of_a_cancelled_job_says_so(desk):
    case = Case(desk, "starting", must_hold=True)
    desk.cancel(case.job)

    assert desk.start(case.work) == answers.Cancelled()


@pytest.mark.parametrize(
    ("state", "retries", "expected"),
    [
        ("starting", 0, answers.Requeued),
        ("running", 0, answers.Ended),
        ("running", 1, answers.Requeued),
    ],
)
def test_give_up_queues_again_what_may_run_again(desk, state, retries, expected):
    job = desk.new(session=SESSION, retries=retries)
    other = desk.new(session=SESSION)
    work = desk.claim(job)
    if state == "running":
        desk.bind(work)
        desk.start(work)

    assert isinstance(desk.give_up(work, "node_lost"), expected)
    head = desk.redis.lindex(desk.keys.pending("acme", SESSION), 0).decode()
    assert head == (job if expected is answers.Requeued else other)


@pytest.mark.parametrize("state", ["starting", "running"])
def test_give_up_of_a_cancelled_job_ends_it(desk, state):
    case = Case(desk, state, must_hold=True)
    desk.cancel(case.job)

    assert desk.give_up(case.work, "node_lost") == answers.Ended("cancelled")


def test_the_third_start_that_fails_ends_a_job_and_drain_does_not_count(desk):
    job = desk.new()
    for why in ("start_failed", "drain", "start_failed", "drain"):
        assert isinstance(desk.give_up(desk.claim(job), why), answers.Requeued)

    assert desk.give_up(desk.claim(job), "start_failed", detail="no image") == answers.Ended("infra")


# Sessions: the table's rows by hand, as each needs its own way there.


def in_state(desk, state):
    """A session in a state, with the work that holds it, if any."""
    if state == "absent":
        return None
    job = desk.new(session=SESSION)
    if state == "new":
        return None
    work = desk.claim(job)
    if state == "starting":
        return work
    desk.bind(work)
    desk.start(work)
    if state in ("idle", "closed"):
        desk.settle(work)
    if state in ("closing", "closed"):
        desk.close(SESSION)
    return work


@pytest.mark.parametrize(
    ("state", "answer", "after"),
    [
        ("absent", client_answers.Closed("lost"), None),
        ("new", client_answers.Closed("closed"), "closed"),
        ("starting", client_answers.Closing(), "closing"),
        ("idle", client_answers.Closed("closed"), "closed"),
        ("busy", client_answers.Closing(), "closing"),
        ("closing", client_answers.Closing(), "closing"),
        ("closed", client_answers.Closed("closed"), "closed"),
    ],
)
def test_close(desk, state, answer, after):
    in_state(desk, state)

    assert desk.close(SESSION) == answer
    assert desk.session(SESSION).get("state") == after
    assert desk.waiting() == []


@pytest.mark.parametrize("state", ["absent", "new", "starting", "idle", "busy", "closing", "closed"])
def test_sweep_ends_only_an_idle_session_whose_time_has_come(desk, state):
    in_state(desk, state)
    generation = int(desk.session(SESSION).get("generation", 0))
    before = desk.dump()

    assert desk.sweep(SESSION, generation) == answers.Kept()
    assert desk.sweep(SESSION, generation + 1, evict_idle_after_s=0) == answers.Kept()
    assert desk.dump() == before
    expected = answers.Kill("box", "evicted") if state == "idle" else answers.Kept()
    assert desk.sweep(SESSION, generation, evict_idle_after_s=0) == expected


@pytest.mark.parametrize(
    ("state", "after"),
    [("new", "new"), ("starting", "starting"), ("idle", "idle"), ("busy", "busy"), ("closing", "closing"),
     ("closed", "new")],
)  # fmt: skip
def test_a_job_can_come_in_every_state_of_its_session(desk, state, after):
    in_state(desk, state)

    answer = desk.submit(session=SESSION)

    assert isinstance(answer, client_answers.Accepted)
    assert answer.woken == (state in ("idle", "closed"))
    assert desk.session(SESSION)["state"] == after


@pytest.mark.parametrize(("state", "reason"), [("absent", "lost"), ("closing", "closed"), ("closed", "closed")])
def test_a_job_that_needs_its_session_is_refused_when_it_is_over(desk, state, reason):
    in_state(desk, state)

    assert desk.submit(session=SESSION, must_exist=True) == client_answers.Expired(reason)


def test_jobs_that_come_while_a_session_closes_run_in_its_next_generation(desk):
    work = in_state(desk, "closing")
    late = desk.new(session=SESSION)

    assert desk.settle(work, "cancelled") == answers.Free(desk.keys.queue("default"), kill="box")
    assert desk.session(SESSION)["state"] == "new"
    following = desk.claim(late)
    assert desk.bind(following, "box2") == answers.Bound(2)
    assert desk.kinds(late) == ["queued", "session_restarted"]


@pytest.mark.parametrize(
    ("state", "after"), [("starting", "new"), ("idle", "idle"), ("busy", "idle"), ("closing", "closed")]
)
def test_a_reclaimed_node_leaves_its_sessions_in_place(desk, state, after):
    in_state(desk, state)

    desk.reclaim()

    assert desk.session(SESSION)["state"] == after


def test_a_forgotten_node_loses_its_sessions_and_the_next_job_is_told(desk):
    in_state(desk, "idle")
    job = desk.new(session=SESSION)
    assert desk.waiting(name="n") == [f"acme/{SESSION}"]
    desk.reclaim()

    assert desk.forget() == answers.Forgotten(1, False)

    assert desk.waiting() == [f"acme/{SESSION}"]
    desk.register("o")
    desk.bind(desk.claim(job, "o"), "box2", node="o")
    assert desk.events(job)[-1][1:] == ("session_restarted", b'{"reason":"lost"}')


def test_a_job_that_needs_its_session_is_told_at_bind_that_it_is_lost(desk):
    in_state(desk, "idle")
    job = desk.new(session=SESSION, must_exist=True)
    desk.register(incarnation="n-2")

    work = desk.claim(job, incarnation="n-2")

    assert work.session_expired == "lost"
    assert desk.bind(work, "box2") == answers.SessionExpired("lost")
    assert desk.session(SESSION)["sandbox"] == ""


def test_adopt_keeps_the_sandboxes_of_the_right_generation(desk):
    in_state(desk, "idle")
    mine, old, strange = (
        answers.FoundSandbox("acme/s", 1, "box"),
        answers.FoundSandbox("acme/s", 0, "older"),
        answers.FoundSandbox("acme/gone", 1, "lost"),
    )

    answer = desk.register(incarnation="n-2", found=[old, mine, strange])

    assert answer == answers.Adopted(keep=(mine,), destroy=(old, strange), more=False)
    assert desk.session(SESSION)["sandbox"] == "box"


def test_a_live_node_keeps_its_name(desk):
    answer = desk.register(incarnation="n-2", has_proof=False)

    assert isinstance(answer, answers.NameTaken)
    assert 0 < answer.seconds <= 15
    assert desk.heartbeat() == answers.Alive((), ())


def test_elsewhere_wakes_the_node_that_has_the_session(desk):
    in_state(desk, "idle")
    job = desk.new(session=SESSION)
    desk.register("o")
    desk.redis.delete(desk.keys.queue("default", "n"))

    assert desk.acquire(job, "o") == answers.Elsewhere(desk.keys.queue("default", "n"))
    assert desk.messages(name="n") == [job]


@pytest.mark.parametrize("traceparent", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_the_context_of_a_trace_comes_with_each_claim_also_of_a_job_that_was_waiting(desk, traceparent):
    desk.register()
    first, second = (desk.new(session="s", traceparent=traceparent) for _ in range(2))

    work = desk.claim(first)
    desk.bind(work)
    desk.start(work)
    following = desk.settle(work, may_continue=True)

    assert work.traceparent == traceparent
    assert (following.work.job, following.work.traceparent) == (second, traceparent)
    assert desk.redis.hexists(desk.keys.job(first), "traceparent") is (traceparent is not None)
