"""What happens to one job in a worker: its ending, and what is left of it after every kind of failure."""

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
import redis as redis_py
from prometheus_client import REGISTRY

from leasebox.contract.audit import Signer
from leasebox.contract.scripts import worker
from leasebox_worker.engine import files as job_files
from leasebox_worker.engine import program
from leasebox_worker.engine.control import cancel
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Sandboxes
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.policy.profiles import BUILT_IN
from leasebox_worker.telemetry.audit import AuditLog
from leasebox_worker.telemetry.metrics import Failed


def failed(reason: Failed) -> float:
    return REGISTRY.get_sample_value("leasebox_attempt_failures_total", {"reason": reason}) or 0.0


def test_a_job_runs_and_leaves_nothing(worker_node: Any, deps: Deps) -> None:
    job = worker_node.submit()

    assert run_job(job, deps)
    result = worker_node.result(job)
    assert (result["outcome"], result["stdout"]) == ("ok", "42\n")
    assert (deps.sandboxes.count(), len(deps.running), deps.tracker.held()) == (0, 0, [])


@pytest.mark.parametrize("session", ["s", None])
def test_the_agent_knows_whether_more_may_follow(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch, session: str | None
) -> None:
    """Without a session the sandbox ends with its job: a process for the next one would be made in vain."""
    asked, plain = [], GuestLink.execute

    def noted(link: GuestLink, request: Exec, *given: Any) -> None:
        asked.append(request.more_soon)
        plain(link, request, *given)

    monkeypatch.setattr(GuestLink, "execute", noted)
    run_job(worker_node.submit(session), deps)

    assert asked == [session is not None]


def test_a_session_keeps_its_sandbox_and_one_wake_up_runs_its_line(worker_node: Any, deps: Deps) -> None:
    first = worker_node.submit("s", {"code": "open('f', 'w').write('x')"})
    second = worker_node.submit("s", {"code": "print(open('f').read())"})
    run_job(first, deps)

    assert worker_node.result(second)["stdout"] == "x\n"
    assert deps.sandboxes.count() == 1


def test_a_result_tells_what_the_sandbox_cost_and_what_the_files(worker_node: Any, deps: Deps) -> None:
    job = worker_node.submit(spec={"code": "1", "files": {"f": {"text": "x"}}})
    run_job(job, deps)
    usage = worker_node.result(job)["usage"]

    assert usage["lease_s"] > 0.001  # no sandbox is made faster
    assert usage["start_s"] > 0


@pytest.mark.parametrize(
    "spec",
    [
        {"code": "1", "files": {"a": {"blob": "b"}}},
        {"code": "1", "files": {"a": {"base64": "abc"}}},
        {"code": "1", "stdin": {"blob": "b"}},
        {"code": "1", "language": "cobol"},
        {"code": 1},
        "not an object",
    ],
)
def test_what_a_worker_cannot_run_is_rejected_before_a_sandbox_is_made(worker_node: Any, deps: Deps, spec: Any) -> None:
    job = worker_node.submit(spec=spec)
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "rejected"
    assert worker_node.job(job).get("runs", "0") == "0"
    assert deps.sandboxes.count() == 0


def test_what_is_rejected_is_told_in_the_audit_log_and_nothing_else(worker_node: Any, deps: Deps) -> None:
    keys = worker_node.keys
    deps.audit = AuditLog(worker_node.runner, keys, Signer(), "n")
    refused = worker_node.submit("s", {"code": "a secret", "network": ["evil.example"]})
    run_job(refused, deps)
    run_job(worker_node.submit(spec={"code": "raise SystemExit(1)"}), deps)
    deps.audit.flush()

    (found,) = [json.loads(fields[b"json"]) for _, fields in worker_node.redis.xrange(keys.audit())]
    assert (found["action"], found["target"], found["result"]) == ("job.run", refused, "invalid_spec")
    assert (found["tenant"], found["more"]) == ("acme", {"session": "s"})


def test_bytes_that_came_as_surrogates_reach_the_program(worker_node: Any, deps: Deps) -> None:
    job = worker_node.submit(spec={"code": "import sys; print(sys.stdin.buffer.read())", "stdin": "\udc80"})
    run_job(job, deps)

    assert worker_node.result(job)["stdout"] == "b'\\x80'\n"


def test_a_redis_that_fails_while_a_job_runs_leaves_no_sandbox_and_no_lease(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> bool:
        raise redis_py.ConnectionError("away")

    monkeypatch.setattr(deps.tracker, "emit", away)
    # It must not end with its first words, or settle alone would carry them.
    job = worker_node.submit("s", {"code": "import time; print(1, flush=True); time.sleep(60)"})
    run_job(job, deps)

    assert (deps.sandboxes.count(), len(deps.running), deps.tracker.held()) == (0, 0, [])
    assert worker_node.job(job)["state"] == "running"  # the next heartbeat gives the claim up


def test_a_redis_that_fails_at_bind_leaves_no_sandbox(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> bool:
        raise redis_py.ConnectionError("away")

    monkeypatch.setattr(deps.tracker, "bind", away)
    run_job(worker_node.submit(), deps)

    assert (deps.sandboxes.count(), deps.tracker.held()) == (0, [])


@pytest.mark.slow
def test_a_fault_of_our_own_ends_the_job_infra_and_leaves_nothing(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise UnicodeError("ours")

    monkeypatch.setattr("leasebox_worker.engine.program.name_ending", broken)
    before = failed(Failed.INTERNAL)
    job = worker_node.submit()
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "infra"
    assert failed(Failed.INTERNAL) == before + 1
    assert (deps.sandboxes.count(), deps.tracker.held()) == (0, [])


def test_a_lease_that_is_lost_while_the_program_runs_ends_its_sandbox(worker_node: Any, deps: Deps) -> None:
    before = failed(Failed.SANDBOX)
    job = worker_node.submit("s", {"code": "import time\nprint(1, flush=True)\ntime.sleep(30)\nprint(2)"})
    thread = threading.Thread(target=run_job, args=(job, deps))
    thread.start()
    _wait(lambda: worker_node.redis.xlen(worker_node.keys.events(job)) >= 3)
    lease = worker_node.job(job)["lease"]
    worker_node.runner.run(worker.give_up(worker_node.keys, job=job, lease=lease, why=worker.Why.OVERDUE))
    sandbox = deps.running.take(job, lease)
    assert sandbox is not None
    deps.sandboxes.discard(sandbox)
    thread.join(30.0)

    assert not thread.is_alive()
    assert worker_node.job(job)["outcome"] == "lost"
    assert deps.sandboxes.count() == 0
    assert failed(Failed.SANDBOX) == before + 1


def test_a_cancel_between_start_and_the_program_is_not_forgotten(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = deps.tracker.start

    def start_then_cancel(work: Any, **given: Any) -> Any:
        answer = start(work, **given)
        worker_node.cancel(work.job)
        cancel(work.job, deps)
        return answer

    monkeypatch.setattr(deps.tracker, "start", start_then_cancel)
    job = worker_node.submit(spec={"code": "import time; time.sleep(20)"})
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "cancelled"


def test_a_cancel_while_files_are_unpacked_is_a_cancel(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled_meanwhile(files: Any) -> Any:
        worker_node.cancel(job)
        first = True
        for chunk in packed(files):
            yield chunk
            if first:
                timer.start()
            first = False

    packed = job_files.packed_files
    monkeypatch.setattr(job_files, "packed_files", cancelled_meanwhile)
    files = {f"f{i}": {"text": "x" * 200_000} for i in range(20)}
    job = worker_node.submit(spec={"code": "1", "files": files})
    timer = threading.Timer(0.0, lambda: cancel(job, deps))
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "cancelled"


@pytest.mark.slow
def test_a_session_whose_sandbox_died_goes_on_in_a_new_one_and_says_so(worker_node: Any, deps: Deps) -> None:
    run_job(worker_node.submit("s"), deps)
    held = deps.sandboxes.find(worker_node.session("s")["sandbox"])
    assert held is not None
    deps.sandboxes.driver.kill(held.handle)
    _wait(lambda: (deps.sandboxes.ping_all(), deps.sandboxes.count() == 0)[1])
    job = worker_node.submit("s")
    run_job(job, deps)

    kinds = [fields[b"type"] for _, fields in worker_node.redis.xrange(worker_node.keys.events(job))]
    assert b"session_restarted" in kinds
    assert worker_node.result(job)["outcome"] == "ok"
    assert deps.sandboxes.count() == 1


def test_a_job_that_needs_its_session_as_it_was_ends_lost_without_code(worker_node: Any, deps: Deps) -> None:
    run_job(worker_node.submit("s"), deps)
    deps.sandboxes.discard_all()
    job = worker_node.submit("s", must_exist=True)
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "lost"
    assert worker_node.job(job).get("runs", "0") == "0"
    assert worker_node.session("s")["sandbox"] == ""
    assert deps.sandboxes.count() == 0


@pytest.mark.slow
def test_the_hosts_deadline_does_not_count_while_redis_takes_no_output(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit, slow = deps.tracker.emit, threading.Event()

    def slow_emit(work: Any, chunks: Any) -> bool:
        slow.wait(0.7)
        return emit(work, chunks)

    monkeypatch.setattr(program, "HOST_GRACE_S", 0.1)
    monkeypatch.setattr(deps.tracker, "emit", slow_emit)
    job = worker_node.submit(spec={"code": "print(1)", "limits": {"timeout_s": 0.4}})
    run_job(job, deps)

    assert worker_node.result(job)["outcome"] == "ok"


@pytest.mark.slow
def test_a_full_node_takes_nothing_until_a_sandbox_ends(worker_node: Any, deps: Deps) -> None:
    for name in ("a", "b"):
        run_job(worker_node.submit(name), deps)
    job = worker_node.submit("c")

    assert not run_job(job, deps)
    assert deps.intake.reasons == {Pause.FULL}
    assert deps.sandboxes.count() == 2

    deps.sandboxes.end(worker_node.session("a")["sandbox"])
    assert deps.intake.reasons == frozenset()
    assert run_job(job, deps)
    assert worker_node.job(job)["outcome"] == "ok"


@pytest.mark.slow
def test_a_sandbox_that_ends_just_before_the_pause_is_not_missed(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        run_job(worker_node.submit(name), deps)
    pause = deps.intake.pause

    def ends_before(reason: Pause) -> None:
        deps.sandboxes.end(worker_node.session("a")["sandbox"])
        pause(reason)

    monkeypatch.setattr(deps.intake, "pause", ends_before)
    run_job(worker_node.submit("c"), deps)

    assert deps.intake.reasons == frozenset()


@pytest.mark.slow
def test_a_session_whose_sandbox_died_on_a_full_node_stays_within_the_bound(worker_node: Any, deps: Deps) -> None:
    for name in ("a", "b"):
        run_job(worker_node.submit(name), deps)
    held = deps.sandboxes.find(worker_node.session("a")["sandbox"])
    assert held is not None
    held.link.is_broken = True
    job = worker_node.submit("a")

    assert run_job(job, deps)
    assert worker_node.job(job)["outcome"] == "ok"
    assert deps.sandboxes.free_places() == 0


def _wait(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("not true within 30 s")


@pytest.mark.slow
@pytest.mark.parametrize(("retries", "state", "outcome"), [(0, "finished", "lost"), (1, "queued", None)])
def test_a_job_that_ended_while_its_worker_was_silent_is_the_workers_loss(
    worker_node: Any, driver: Any, placement: Any, retries: int, state: str, outcome: str | None
) -> None:
    sandboxes = Sandboxes(driver, replace(placement, dead_man_s=0.5), bound=1)  # and nobody pings
    job = worker_node.submit(spec={"code": "import time; time.sleep(60)"}, retries=retries)
    try:
        run_job(job, Deps(worker_node.tracker, sandboxes, BUILT_IN, cancel_grace_s=0.2))
    finally:
        sandboxes.end_all()

    assert (worker_node.job(job)["state"], worker_node.job(job).get("outcome")) == (state, outcome)
