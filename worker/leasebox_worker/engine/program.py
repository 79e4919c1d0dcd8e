"""How does a job's program run in its sandbox: its files, its start, its output, its end?"""

import time
from dataclasses import replace

from leasebox.contract.errors import GuestProtocolError, SandboxDied
from leasebox.contract.result import Outcome, Usage
from leasebox_worker.engine.attempt import Attempt, bytes_of
from leasebox_worker.engine.build import build, error_of, tidy
from leasebox_worker.engine.contents import pieces_of
from leasebox_worker.engine.deadline import Deadline
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.live_input import live_input
from leasebox_worker.engine.network import network
from leasebox_worker.engine.outcome import Ended, name_ending
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.guestlink.messages import ApartPart, Display, Exited, Input, Output, Refused, Restarted
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.policy.admit import Grant
from leasebox_worker.policy.languages import Program
from leasebox_worker.policy.redaction import redact

HOST_GRACE_S = 5.0
"""The guest enforces the wall limit; a host that waits so much longer gives the sandbox up."""
POLL_S = 1.0
CLOCK_SLACK_S = 1.0
"""So much less than the host has seen may an agent say that a job ran: the machine may have been busy."""


def _exec(
    attempt: Attempt, *, kind: str, argv: tuple[str, ...], code_path: str | None, code_bytes: int, wall_s: float
) -> Exec:
    grant = attempt.grant
    assert grant is not None
    assert attempt.sandbox is not None
    limits, workspace = grant.limits, attempt.sandbox.handle.workspace
    assert limits.stream_bytes is not None
    return Exec(
        id=f"{attempt.work.lease}/{kind}",
        kind=kind,
        argv=argv,
        code_bytes=code_bytes,
        code_path=code_path,
        cwd=workspace if grant.cwd == "." else f"{workspace}/{grant.cwd}",
        env={"HOME": workspace} | grant.env,
        wall_s=wall_s,
        cpu_s=limits.cpu_s,
        silence_s=limits.silence_s,
        stream_bytes=limits.stream_bytes,
        line_buffered=True,
        cancel_grace_s=1.0,
        more_soon=attempt.work.session is not None,
    )


def execute(attempt: Attempt, deps: Deps) -> tuple[Ended, Usage]:
    """Run the program with the network that it asked for; nothing of it is connected any more afterwards."""
    assert attempt.sandbox is not None
    with network(attempt.spec, attempt.work, attempt.sandbox, deps.egress) as used:
        program = attempt.grant.program if attempt.grant else None
        if program is not None and program.is_built:
            ended, usage = _build_and_run(program, attempt, attempt.sandbox, deps)
        else:
            ended, usage = _run_program(attempt, attempt.sandbox, deps)
    traffic = {"network_in_bytes": used.traffic.bytes_in, "network_out_bytes": used.traffic.bytes_out}
    return ended, usage.model_copy(update=traffic)


def longest_s(grant: Grant) -> float:
    """How long the steps of a job may take in all, until the host gives its sandbox up."""
    assert grant.limits.timeout_s is not None
    steps = 2 if grant.program is not None and grant.program.is_built else 1
    return steps * (grant.limits.timeout_s + HOST_GRACE_S)


def _build_and_run(program: Program, attempt: Attempt, sandbox: Sandbox, deps: Deps) -> tuple[Ended, Usage]:
    """Build the program; run it if that went well; leave nothing of it in a session."""
    workspace = sandbox.handle.workspace
    like = _program_exec(attempt)
    request = replace(
        like,
        id=f"{attempt.work.lease}/build",
        argv=program.build(workspace),
        cwd=workspace,
        env=like.env | program.build_env(workspace),
    )
    built = build(attempt, sandbox, request, deps, grace_s=HOST_GRACE_S)
    attempt.build = built.step
    if built.failure is None:
        was_lost = attempt.told.interpreter == "lost"
        ended, usage = _run_program(attempt, sandbox, deps)
        attempt.told.interpreter = "lost" if was_lost else attempt.told.interpreter
    else:
        attempt.times.exited_at = time.monotonic()
        attempt.told.error = error_of(built.failure)
        ended, usage = built.failure, Usage()
    tidy(attempt)
    return ended, built.added_to(usage)


def _program_exec(attempt: Attempt) -> Exec:
    """The start of the job's program; its code comes along, unless a build has used it up."""
    grant = attempt.grant
    assert grant is not None
    assert grant.limits.timeout_s is not None
    assert attempt.sandbox is not None
    words = grant.program.run(attempt.sandbox.handle.workspace, grant.cwd) if grant.program else ()
    is_used_up = attempt.build is not None
    return _exec(
        attempt,
        kind="cell" if grant.is_cell else "python" if grant.is_python else "command",
        argv=(*words, *grant.argv),
        code_path=None if is_used_up else grant.code_path,
        code_bytes=0 if is_used_up else len(grant.code),
        wall_s=grant.limits.timeout_s,
    )


def _run_program(attempt: Attempt, sandbox: Sandbox, deps: Deps) -> tuple[Ended, Usage]:
    """Start the program and pump its output until it has ended."""
    grant = attempt.grant
    assert grant is not None
    assert grant.limits.timeout_s is not None
    request = _program_exec(attempt)
    request = replace(request, env=request.env | attempt.secrets)
    began = time.monotonic()
    code = grant.code if request.code_bytes else b""
    stdin = None
    if not attempt.spec.stdin_open:
        stdin = pieces_of(attempt.spec.stdin, attempt.work.tenant, deps.tracker.blobs)
    sandbox.link.execute(request, code, stdin)
    deps.running.cancel_again(attempt.work, deps.cancel_grace_s)
    try:
        with live_input(attempt.work, sandbox.link, deps):
            exited = _pump(attempt, sandbox, deps, Deadline(grant.limits.timeout_s + HOST_GRACE_S))
    except SandboxDied:
        if not deps.sandboxes.look(sandbox, thoroughly=True).was_oom:
            raise
        # Not lost by our fault, and to run it again would end the same: its memory limit took the agent too.
        attempt.times.exited_at = time.monotonic()
        attempt.publisher.end()
        attempt.is_sandbox_alive = False
        return Ended(Outcome.OOM, None, None, "memory", "its memory limit ended its whole sandbox"), Usage()
    attempt.times.exited_at = time.monotonic()
    attempt.publisher.end()
    if exited is None:
        attempt.is_sandbox_alive = False
        return Ended(
            Outcome.TIMEOUT, None, None, "wall", "ended by its wall limit; its sandbox had to be ended"
        ), Usage()
    if exited.is_dead_man and not exited.is_cancelled:
        # We were stopped or too slow: our loss, which may be retried, and no signal of the program's own.
        raise SandboxDied(f"the job was ended while its worker did not answer ({exited.error})")
    attempt.is_sandbox_alive = exited.is_clean
    is_suspect = exited.signal is not None or exited.code not in (0, None) or exited.interpreter == "lost"
    seen = deps.sandboxes.look(sandbox, thoroughly=is_suspect)
    attempt.told.ended(exited, sandbox, was_oom=seen.was_oom)
    ended = name_ending(exited, seen)
    ended = replace(ended, message=_without_secrets(ended.message, attempt.secrets))
    sandbox.disk_bytes = exited.disk_bytes
    usage = Usage(
        run_s=_run_s(exited.wall_s, attempt.times.exited_at - began, attempt.times.excused_s + sandbox.link.held_s),
        cpu_s=exited.cpu_s,
        memory_peak_bytes=seen.memory_peak_bytes or exited.memory_peak_bytes,
        output_bytes=attempt.publisher.total_bytes,
        disk_bytes=exited.disk_bytes,
    )
    return ended, usage


def _run_s(claimed_s: float, seen_s: float, stood_s: float) -> float:
    """The agent's clock is the better one, but only as far as ours, less what others held us up, bears it out."""
    return min(max(claimed_s, seen_s - stood_s - CLOCK_SLACK_S), seen_s)


def _pump(attempt: Attempt, sandbox: Sandbox, deps: Deps, deadline: Deadline) -> Exited | None:
    """Move output to the stream until the program has ended; None if it had not by `deadline`.

    Time in which the job was held, in which Redis did not take output or we were stopped, does not count: the agent's
    word may have come long ago.
    """
    publisher = attempt.publisher
    while not deadline.is_over(sandbox.link.held_s):
        taken_bytes = 0
        for message in sandbox.link.read(publisher.wait_s(time.monotonic(), POLL_S)):
            match message:
                case Output():
                    publisher.add(message)
                    taken_bytes += len(message.data)
                case ApartPart():
                    deadline.excuse(_keep_apart(attempt, message, deps))
                    taken_bytes += len(message.data)
                case Display():
                    attempt.told.show(message, publisher, attempt.left)
                case Input() | Restarted():
                    attempt.told.publish(message, publisher, sandbox)
                case Exited():
                    attempt.times.excused_s = deadline.excused_s
                    return message
                case Refused(reason=reason):
                    raise GuestProtocolError(f"the agent refused the job: {reason}")
        before = time.monotonic()
        publisher.flush_if_due()
        deadline.excuse(time.monotonic() - before)
        if len(deps.running) > 1:
            sandbox.pace.keep(taken_bytes)
    return None


def _keep_apart(attempt: Attempt, part: ApartPart, deps: Deps) -> float:
    """Write a part of what becomes an artifact; how long that took."""
    before = time.monotonic()
    attempt.told.apart.add(part, lambda: deps.tracker.blobs.writers(attempt.work))
    return time.monotonic() - before


def _without_secrets(text: str, secrets: dict[str, str]) -> str:
    return redact(text.encode(errors="surrogateescape"), bytes_of(secrets)).decode(errors="replace")
