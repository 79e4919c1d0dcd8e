"""One claim of one job: admit, sandbox, files, start, pump, settle."""

import json
import os
import time
from collections.abc import Collection
from dataclasses import replace

import structlog

from leasebox.contract import CONTRACT_VERSION
from leasebox.contract.errors import InvalidSpec, LeaseboxError
from leasebox.contract.files import FileOperation, parse_operation
from leasebox.contract.result import Failure, Outcome, Usage
from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts.worker import Chunk
from leasebox.contract.spec import SANDBOX_LIMITS, JobSpec, Kind, Limits, parse_spec
from leasebox_worker.engine.artifacts import COLLECT_WITHIN_S, collect, look
from leasebox_worker.engine.attempt import Attempt, Times, bytes_of
from leasebox_worker.engine.berth import Berth
from leasebox_worker.engine.contents import size_of
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.files import grant_of_operation, operate, put_files, spec_of_operation
from leasebox_worker.engine.network import check_network
from leasebox_worker.engine.outcome import Ended
from leasebox_worker.engine.program import execute, longest_s
from leasebox_worker.engine.publisher import Publisher
from leasebox_worker.engine.report import Where, ending_of, result_of
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.engine.tracing import tell_phases
from leasebox_worker.policy.admit import Grant, admit
from leasebox_worker.policy.profiles import Profile
from leasebox_worker.telemetry.metrics import POOL, End, note_job

log = structlog.get_logger()


def carry_out(answer: a.Leased | a.Cold, berth: Berth, deps: Deps, *, may_continue: bool) -> a.Leased | a.Cold | None:
    """Carry one claim to its end; the next claim of its line, if `settle` gave one.

    Raises:
        LeaseLost: Redis gave the job to another holder.
        SandboxError: The sandbox did not start, or died; the claim is still ours.
        Draining: It has not started, and is to go back; the claim is still ours.
    """
    work, began = answer.work, time.monotonic()
    attempt = Attempt(work, JobSpec(code=""), None, None, _publisher(work, deps, 0), Times())
    try:
        attempt.operation = parse_operation(work.spec) if work.kind == Kind.FILE else None
        attempt.spec, profile, attempt.grant = _admit(work, attempt.operation, deps)
        attempt.secrets = deps.secrets.read(attempt.spec.secrets)
    except InvalidSpec as exc:
        return _settle(attempt, _ours(Outcome.REJECTED, exc), deps, may_continue=may_continue, error=exc)
    limits = attempt.grant.limits
    assert limits.timeout_s is not None
    assert limits.output_bytes is not None
    attempt.publisher = _publisher(work, deps, limits.output_bytes, bytes_of(attempt.secrets))
    try:
        attempt.sandbox = _sandbox_for(answer, attempt.spec.limits, attempt.grant, profile, berth, deps)
        check_network(attempt.spec, attempt.sandbox, deps.sandboxes.driver, deps.egress)
    except InvalidSpec as exc:
        return _settle(attempt, _ours(Outcome.REJECTED, exc), deps, may_continue=may_continue, error=exc)
    except _MustExist as exc:
        attempt.is_sandbox_alive = False
        return _settle(attempt, _ours(Outcome.LOST, exc), deps, may_continue=may_continue, error=exc)
    attempt.times.lease_s = time.monotonic() - began
    older = deps.running.put(work, attempt.sandbox)
    if older is not None:
        deps.sandboxes.destroy(older, End.LOST)  # two attempts of one job must not run at once
    shared = {name: getattr(attempt.sandbox.limits, name) for name in SANDBOX_LIMITS}
    attempt.grant = replace(attempt.grant, limits=limits.model_copy(update=shared))
    failed = put_files(attempt, deps)
    if failed is not None:
        return _settle(attempt, failed, deps, may_continue=may_continue)
    before = look(attempt)
    attempt.times.start_s = time.monotonic() - began - attempt.times.lease_s
    deadline_s = longest_s(attempt.grant) + (COLLECT_WITHIN_S if attempt.spec.artifacts else 0.0)
    go = _start(work, attempt.sandbox, deps, deadline_s=deadline_s)
    if isinstance(go, a.Cancelled):
        ended = Ended(Outcome.CANCELLED, None, None, None, "cancelled before it started")
        return _settle(attempt, ended, deps, may_continue=may_continue)
    attempt.number = go.attempt
    ended, usage = execute(attempt, deps) if attempt.operation is None else operate(attempt, deps)
    collect(attempt, ended, before, deps)
    return _settle(attempt, ended, deps, may_continue=may_continue, usage=usage)


class Draining(LeaseboxError):
    """A job that has not started, on a node that takes leave."""


class _MustExist(LeaseboxError):
    """The session of a `session_must_exist` job has lost its sandbox."""


def _admit(work: a.Work, operation: FileOperation | None, deps: Deps) -> tuple[JobSpec, Profile, Grant]:
    if int(work.contract_version) > CONTRACT_VERSION:
        raise InvalidSpec(
            f"the record has contract version {work.contract_version}, this worker knows {CONTRACT_VERSION}",
            hint="upgrade the worker",
        )
    spec = _spec_of(work.spec) if operation is None else spec_of_operation(operation, work.session)
    for content in (*spec.files.values(), spec.stdin):
        size_of(content, work.tenant, deps.tracker.blobs)  # refused now, not when a sandbox stands and the program runs
    profile = deps.profiles.get(work.profile)
    if profile is None:
        raise InvalidSpec(f"profile: {work.profile!r} is not served here; there are {', '.join(sorted(deps.profiles))}")
    grant = admit(spec, profile, node_cpus=float(os.cpu_count() or 1), toolbox=deps.toolboxes.get(profile.name))
    if operation is not None:
        grant = grant_of_operation(grant, operation, work.tenant, deps)
    return spec, profile, grant


def _spec_of(data: bytes) -> JobSpec:
    """The spec of a record.

    Raises:
        InvalidSpec: It was not written by a client of this contract.
    """
    try:
        return parse_spec(json.loads(data))
    except (ValueError, RecursionError) as exc:
        raise InvalidSpec("the record's spec is not JSON") from exc


def _sandbox_for(
    answer: a.Leased | a.Cold, asked: Limits, grant: Grant, profile: Profile, berth: Berth, deps: Deps
) -> Sandbox:
    """The sandbox of the line: the one that it has, a warm one of the pool, or a new one, bound."""
    work, why_gone = answer.work, End.LOST
    if isinstance(answer, a.Leased):
        sandbox = deps.sandboxes.find(answer.sandbox)
        if sandbox is not None and sandbox.is_warm:
            berth.has_taken = True
            sandbox = _from_the_pool(sandbox, grant, profile, deps)
        elif sandbox is not None:
            _check_session_limits(work, asked, sandbox)
        if sandbox is not None:
            berth.leave()
            return sandbox
        why_gone = deps.sandboxes.why_gone(answer.sandbox)
    if work.session_expired is not None:
        raise _MustExist(work.session_expired)
    labels = {"leasebox.session": f"{work.tenant}/{work.session}" if work.session else "", "leasebox.job": work.job}
    POOL.labels(profile.name, "miss").inc()
    berth.has_taken = True
    sandbox = deps.sandboxes.make(profile, grant.limits, labels, berth.place())
    try:
        bound = deps.tracker.bind(work, sandbox.text(), why=why_gone)
    except BaseException:
        deps.sandboxes.discard(sandbox)
        raise
    if isinstance(bound, a.SessionExpired):
        deps.sandboxes.discard(sandbox)
        raise _MustExist(bound.reason)
    return sandbox


def _from_the_pool(sandbox: Sandbox, grant: Grant, profile: Profile, deps: Deps) -> Sandbox | None:
    """A warm sandbox for its first job; None, and its end, if the job asks for other limits than it has."""
    sandbox.is_warm = False
    if any(getattr(grant.limits, name) != getattr(sandbox.limits, name) for name in SANDBOX_LIMITS):
        deps.sandboxes.discard(sandbox, End.SURPLUS)
        return None
    POOL.labels(profile.name, "hit").inc()
    return sandbox


def _check_session_limits(work: a.Work, asked: Limits, sandbox: Sandbox) -> None:
    for name in SANDBOX_LIMITS:
        value, has = getattr(asked, name), getattr(sandbox.limits, name)
        if value is not None and value != has:
            raise InvalidSpec(
                f"limits.{name}: session {work.session!r} has a sandbox with {has}; {value} cannot be set any more",
                hint="give it with the session's first job",
            )


def _start(work: a.Work, sandbox: Sandbox, deps: Deps, *, deadline_s: float) -> a.Go | a.Cancelled:
    """Write `running`, and answer at a time at which the exec frame may leave.

    A process that was stopped in between may have lost the job meanwhile: it asks again, which is harmless.

    Raises:
        LeaseLost: Another holder took over; nothing may be started.
        Draining: This node takes leave; the job goes back.
    """
    if deps.is_draining:
        raise Draining("the node is draining")
    while True:
        if not deps.fence.wait():
            raise Draining("the node is leaving")
        go = deps.tracker.start(work, deadline_s=deadline_s, sandbox_name=sandbox.name)
        if isinstance(go, a.Cancelled) or not deps.fence.is_shut:
            return go


def _settle(
    attempt: Attempt,
    ended: Ended,
    deps: Deps,
    *,
    may_continue: bool,
    usage: Usage | None = None,
    error: LeaseboxError | None = None,
) -> a.Leased | a.Cold | None:
    """Publish the ending; end the sandbox if nobody is to have it; the line's next claim, if one came along."""
    work, sandbox = attempt.work, attempt.sandbox
    is_expired = isinstance(error, _MustExist)
    name = "SessionExpired" if is_expired else type(error).__name__
    failure = Failure(name=name, message=ended.message) if error else None
    result = result_of(attempt, ended, where=_where(attempt, deps), usage=usage or Usage(), error=failure)
    is_usable = attempt.is_sandbox_alive and sandbox is not None and not sandbox.link.is_broken
    lost_by = End.OOM if ended.outcome is Outcome.OOM else End.FAILED
    if sandbox is not None and not is_usable:
        deps.sandboxes.destroy(sandbox, lost_by)  # before `finished`, which says that nothing of the job runs any more
    answer = deps.tracker.settle(
        work,
        ending_of(result, exc_type="SessionExpired" if is_expired else None),
        attempt.publisher.take(),
        next_lease=deps.tracker.new_lease(),
        may_continue=may_continue and is_usable,
        sandbox_alive=is_usable or (sandbox is None and attempt.is_sandbox_alive),
        sandbox_reason="lost" if sandbox is None else lost_by,
    )
    note_job(result, work.profile)
    tell_phases(attempt, result.outcome)
    if deps.audit is not None and error is not None and ended.outcome is Outcome.REJECTED:
        deps.audit.note("job.run", work.job, error.code, tenant=work.tenant, session=work.session)
    log.info("job_finished", outcome=result.outcome, run_s=round(result.usage.run_s, 4), attempt=attempt.number)
    if sandbox is not None and (work.session is None or not is_usable):
        deps.sandboxes.discard(sandbox, End.USED)
    elif answer.kill is not None:
        deps.sandboxes.end(answer.kill)
    if isinstance(answer, a.Next):
        return a.Leased(answer.work, answer.sandbox)
    return None


def _where(attempt: Attempt, deps: Deps) -> Where:
    driver, sandbox = deps.sandboxes.driver, attempt.sandbox
    return Where(
        node=deps.tracker.identity.node,
        sandbox=sandbox.name if sandbox else None,
        driver=driver.name,
        isolation=driver.isolation,
        runtime=_runtime(attempt),
    )


def _runtime(attempt: Attempt) -> str | None:
    grant, sandbox = attempt.grant, attempt.sandbox
    if grant is None or sandbox is None:
        return None
    return sandbox.link.python if grant.is_python else grant.program.version if grant.program else None


def _publisher(work: a.Work, deps: Deps, kept_bytes: int, secrets: Collection[bytes] = ()) -> Publisher:
    def _emit(chunks: list[Chunk]) -> None:
        if deps.tracker.emit(work, chunks):
            deps.running.cancel(work.job, deps.cancel_grace_s)

    return Publisher(_emit, kept_bytes=kept_bytes, secrets=secrets)


def _ours(outcome: Outcome, error: LeaseboxError) -> Ended:
    return Ended(outcome, None, None, None, str(error))
