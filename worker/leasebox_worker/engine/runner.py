"""What happens to the job of a wake-up: claimed, carried out, given back if we cannot; then the next of its line."""

import time

import redis
import structlog

from leasebox.contract.errors import GuestProtocolError, LeaseLost, SandboxDied, SandboxError
from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts.worker import Why
from leasebox_worker.engine.attempt import Draining, carry_out
from leasebox_worker.engine.deps import Deps

log = structlog.get_logger()

MAX_IN_A_ROW = 8
MAX_IN_A_ROW_S = 2.0
"""A session's jobs continue in one thread at most this long, so that no session keeps a thread for ever."""
FULL_PAUSE_S = 0.5
"""`acquire` on a full node sends the wake-up again at once; taking it at once again would be a busy loop."""


def run_job(job_id: str, deps: Deps) -> bool:
    """Run the job that a wake-up names, and what its line goes on with; False if the wake-up was dropped."""
    began = time.monotonic()
    done = 0
    try:
        answer = _acquire(job_id, deps)
        while isinstance(answer, a.Leased | a.Cold):
            done += 1
            may_continue = done < MAX_IN_A_ROW and time.monotonic() - began < MAX_IN_A_ROW_S and _may_claim(deps)
            following = _run_claimed(answer, deps, may_continue=may_continue)
            answer = a.Done() if following is None else following
    finally:
        deps.sandboxes.release()
    if answer == a.Later("full"):
        deps.sandboxes.wait_for_room(FULL_PAUSE_S)
    return done > 0


def _may_claim(deps: Deps) -> bool:
    return not deps.is_draining and not deps.fence.is_shut


def _acquire(job_id: str, deps: Deps) -> a.AcquireAnswer:
    """Claim; a place for a new sandbox stays reserved after `Cold`, until the sandbox takes it."""
    if not deps.fence.wait():
        return a.Fenced()
    lease = deps.tracker.new_lease()
    room = deps.sandboxes.reserve()
    while True:
        answer = deps.tracker.acquire(job_id, lease, draining=deps.is_draining or deps.intake.is_stopped, room=room)
        if not isinstance(answer, a.More):
            log.debug("acquired", job_id=job_id, answer=type(answer).__name__)
            if not isinstance(answer, a.Cold):
                deps.sandboxes.release()
            return answer


def _run_claimed(answer: a.Leased | a.Cold, deps: Deps, *, may_continue: bool) -> a.Leased | a.Cold | None:
    """Carry one claim to its end; the next claim of the line, if `settle` gave one."""
    work = answer.work
    with structlog.contextvars.bound_contextvars(
        job_id=work.job, session_id=work.session, node=deps.tracker.identity.node
    ):
        try:
            return carry_out(answer, deps, may_continue=may_continue)
        except LeaseLost:
            log.warning("lease_lost")
            _abandon(work, deps)
        except Draining:
            log.info("job_given_back")
            _give_up(work, Why.DRAIN, "", deps)
            if work.session is None:
                _abandon(work, deps)
        except SandboxError as exc:
            log.warning("attempt_failed", reason=str(exc))
            _end_sandbox(work, deps)
            if deps.is_leaving:
                _give_up(work, Why.DRAIN, "", deps)
            else:
                _give_up(work, _why(exc), str(exc), deps)
        except redis.RedisError as exc:
            # Nothing can be told to Redis now: the lease is dropped below, and a later heartbeat gives the claim up.
            log.error("redis_failed", reason=str(exc))
            _abandon(work, deps)
        except Exception as exc:  # the outermost loop: nothing may leave a sandbox or a claim behind
            log.exception("attempt_broke")
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
        deps.tracker.give_up(work, why, detail)
    except redis.RedisError as exc:
        log.error("redis_failed", reason=str(exc))


def _why(error: SandboxError) -> Why:
    return Why.SANDBOX_DIED if isinstance(error, SandboxDied | GuestProtocolError) else Why.START_FAILED
