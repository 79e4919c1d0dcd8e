"""Does a job's ordinary life work, from submit to its end?"""

from __future__ import annotations

import json

from leasebox.contract.result import Outcome, Result
from leasebox.contract.scripts import answers, client_answers, worker


def test_a_job_of_its_own_goes_from_submit_to_its_end(desk):
    accepted = desk.submit()
    assert isinstance(accepted, client_answers.Accepted)
    assert accepted.woken
    assert accepted.position == 0
    job = accepted.job
    assert desk.messages() == [job]
    assert desk.waiting() == [job]

    work = desk.claim(job)
    assert work.spec == b'{"code":"1"}'
    assert work.claims == 1
    assert desk.waiting() == []
    assert desk.bind(work) == answers.Bound(1)
    assert desk.start(work) == answers.Go(1)
    assert desk.emit(work, worker.Chunk(16, "stdout", b"hi\xff")) == answers.Ok(False)
    assert desk.settle(work) == answers.Free("")

    assert desk.kinds(job) == ["queued", "started", "stdout", "finished"]
    assert desk.events(job)[2] == ("1-16", "stdout", b"hi\xff")
    assert json.loads(desk.redis.get(desk.keys.meta(job)))["status"] == "SUCCESS"
    assert desk.job(job)["state"] == "finished"
    assert desk.redis.ttl(desk.keys.job(job)) > 0
    assert not desk.redis.exists(desk.keys.tenant_running("acme"), desk.keys.tenant_queued("acme"))


def test_jobs_of_a_session_run_in_order_and_the_thread_goes_on(desk):
    first, second, third = desk.new(session="s"), desk.new(session="s"), desk.new(session="s")
    assert desk.messages() == [first]

    work = desk.claim(first)
    desk.bind(work)
    desk.start(work)
    following = desk.settle(work, may_continue=True, next_lease="n-1:x")
    assert isinstance(following, answers.Next)
    assert following.work.job == second
    assert following.sandbox == "box"
    desk.start(following.work)
    assert desk.settle(following.work) == answers.Free(desk.keys.queue("default", "n"))

    assert desk.messages("default", "n") == [third]
    assert desk.waiting("default", "n") == ["acme/s"]
    assert desk.session("s")["state"] == "idle"


def test_a_cancelled_job_in_the_queue_ends_at_once_with_a_result_for_celery(desk):
    job = desk.new(metadata_json='{"k":"v"}', session="s")

    assert desk.cancel(job) == answers.Cancelled()

    meta = json.loads(desk.redis.get(desk.keys.meta(job)))
    assert meta["status"] == "REVOKED"
    result = Result.model_validate(meta["result"]["result"])
    assert (result.outcome, result.metadata, result.session) == (Outcome.CANCELLED, {"k": "v"}, "s")
    assert desk.kinds(job) == ["queued", "finished"]
    assert desk.waiting() == []


def test_a_lost_job_says_so_and_one_with_retries_runs_again(desk):
    lost, retried = desk.new(), desk.new(retries=1)
    works = [desk.claim(job) for job in (lost, retried)]
    for work in works:
        desk.bind(work, work.job)
        desk.start(work)

    assert desk.reclaim() == answers.Reclaimed(2, False)

    assert desk.job(lost)["outcome"] == "lost"
    meta = json.loads(desk.redis.get(desk.keys.meta(lost)))
    assert (meta["status"], meta["result"]["exc_type"]) == ("FAILURE", "JobLost")
    assert Result.model_validate(meta["result"]["result"]).attempt == 1
    assert desk.job(retried)["state"] == "queued"
    assert desk.kinds(retried) == ["queued", "started", "retried"]
    assert desk.settle(works[1]) == answers.LeaseLost()
    assert desk.acquire(retried) == answers.Fenced()
    desk.register(incarnation="n-2")
    assert desk.claim(retried, incarnation="n-2").runs == 1
