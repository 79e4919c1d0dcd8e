"""What happens to the job of a wake-up: claimed, carried out, given back if we cannot; then the next of its line."""

import time

import redis
import structlog

from leasebox.contract.errors import BrokerUnavailable, GuestProtocolError, LeaseLost, SandboxDied, SandboxError
from leasebox.contract.result import Outcome
from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts.worker import Why
from leasebox_worker.engine.berth import Berth
from leasebox_worker.engine.carry_out import Draining, carry_out
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.tracing import attempt_of
from leasebox_worker.telemetry.metrics import ATTEMPTS, Failed

log = structlog.get_logger()

MAX_IN_A_ROW = 8
MAX_IN_A_ROW_S = 2.0
"""A session's jobs continue in one thread at most this long, so that no session keeps a thread for ever."""
_OURS = (Outcome.INFRA, Outcome.LOST)


def run_job(job_id: str, deps: Deps) -> bool:
    """Run the job that a wake-up names, and what its line goes on with; False if the wake-up was dropped."""
    began = time.monotonic()
    done = 0
    berth = Berth(deps)
    try:
        answer = _acquire(job_id, berth, deps)
        while isinstance(answer, a.Leased | a.Cold):
            done += 1
            may_continue = done < MAX_IN_A_ROW and time.monotonic() - began < MAX_IN_A_ROW_S and _may_claim(deps)
            following = _run_claimed(answer, berth, deps, may_continue=may_continue)
            answer = a.Done() if following is None else following
    finally:
        berth.leave()
    # On a full node the session that has just become idle may be the one that gives way.
    if deps.refill is not None and (berth.has_taken or Pause.FULL in deps.intake.reasons):
        deps.refill.ask()
    return done > 0


def _may_claim(deps: Deps) -> bool:
    return not deps.is_draining and not deps.fence.is_shut


def _acquire(job_id: str, berth: Berth, deps: Deps) -> a.AcquireAnswer:
    """Claim; a full node asks again if it can make room, else it takes nothing more until a sandbox ends."""
    if not deps.fence.wait():
        return a.Fenced()
    lease = deps.tracker.new_lease()
    has_place = berth.take()
    while True:
        draining = deps.is_draining or deps.intake.is_stopped
        answer = deps.tracker.acquire(job_id, lease, draining=draining, room=has_place)
        if isinstance(answer, a.More):
            continue
        if answer == a.Later("full"):
            if has_place := berth.make_room():
                continue
            _close_intake(deps)
        log.debug("acquired", job_id=job_id, answer=type(answer).__name__)
        return answer


def _close_intake(deps: Deps) -> None:
    deps.intake.pause(Pause.FULL)
    if deps.sandboxes.free_places() > 0:
        deps.intake.resume(Pause.FULL)  # one ended between the question and the pause, which nobody would tell us


def _run_claimed(
    answer: a.Leased | a.Cold, berth: Berth, deps: Deps, *, may_continue: bool
) -> a.Leased | a.Cold | None:
    """Carry one claim to its end; the next claim of the line, if `settle` gave one."""
    work = answer.work
    with attempt_of(work, deps.tracker.identity.node) as span:
        try:
            return carry_out(answer, berth, deps, may_continue=may_continue)
        except LeaseLost:
            log.warning("lease_lost")
            ATTEMPTS.labels(Failed.LEASE_LOST).inc()
            _abandon(work, deps)
        except Draining:
            log.info("job_given_back")
            _give_up(work, Why.DRAIN, "", deps)
            if work.session is None:
                _abandon(work, deps)
        except SandboxError as exc:
            log.warning("attempt_failed", reason=str(exc))
            ATTEMPTS.labels(Failed.SANDBOX).inc()
            span.failed()
            _end_sandbox(work, deps)
            if deps.is_leaving:
                _give_up(work, Why.DRAIN, "", deps)
            else:
                _give_up(work, _why(exc), str(exc), deps)
        except (redis.RedisError, BrokerUnavailable) as exc:
            # Nothing can be told to Redis now: the lease is dropped below, and a later heartbeat gives the claim up.
            log.error("redis_failed", reason=str(exc), exc_info=True)
            ATTEMPTS.labels(Failed.REDIS).inc()
            span.failed()
            _abandon(work, deps)
        except Exception as exc:  # the outermost loop: nothing may leave a sandbox or a claim behind
            log.exception("attempt_broke")
            ATTEMPTS.labels(Failed.INTERNAL).inc()
            span.failed()
            _abandon(work, deps)
            _give_up(work, Why.START_FAILED, f"internal error: {type(exc).__name__}", deps)
        finally:
            deps.running.take(work.job, work.lease)
            deps.tracker.drop(work)
    return None


def _abandon(work: a.Work, deps: Deps) -> None:
    """End the sandbox of an attempt that is no longer ours: nobody may meet what it left running."""
    sandbox = deps.running.take(work.job, work.lease)
    if sandbox is not None:
        deps.sandboxes.discard(sandbox)


def _end_sandbox(work: a.Work, deps: Deps) -> None:
    """End the sandbox of an attempt before the job is given up: nothing of it may run when the next one starts."""
    sandbox = deps.running.take(work.job, work.lease)
    if sandbox is not None:
        deps.sandboxes.destroy(sandbox)


def _give_up(work: a.Work, why: Why, detail: str, deps: Deps) -> None:
    try:
        answer = deps.tracker.give_up(work, why, detail)
    except redis.RedisError as exc:
        log.error("redis_failed", reason=str(exc), exc_info=True)
        return
    if isinstance(answer, a.Ended) and answer.outcome in _OURS and why is not Why.DRAIN:
        # Called while the exception is handled that led to it.
        log.error("job_failed", outcome=answer.outcome, reason=detail, exc_info=True)


def _why(error: SandboxError) -> Why:
    return Why.SANDBOX_DIED if isinstance(error, SandboxDied | GuestProtocolError) else Why.START_FAILED
