"""How is a program built before it runs? In a step of its own: the same limits, outputs apart, no input, no secrets."""

from dataclasses import dataclass, replace

from leasebox.contract.errors import GuestProtocolError, SandboxDied
from leasebox.contract.result import Build, Failure, Outcome, Usage
from leasebox_worker.engine import errand
from leasebox_worker.engine.attempt import Attempt
from leasebox_worker.engine.deadline import Deadline
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.kept import Kept
from leasebox_worker.engine.outcome import Ended, name_ending
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.guestlink.messages import Exited, Output, Refused
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.policy.languages import OUT

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Built:
    """How the build went.

    Attributes:
        failure: How the job has ended with it; None: the program can run.
    """

    step: Build
    failure: Ended | None
    cpu_s: float = 0.0
    memory_peak_bytes: int = 0

    def added_to(self, usage: Usage) -> Usage:
        """What both steps used."""
        peak_bytes = max(usage.memory_peak_bytes, self.memory_peak_bytes)
        return usage.model_copy(update={"cpu_s": usage.cpu_s + self.cpu_s, "memory_peak_bytes": peak_bytes})


def build(attempt: Attempt, sandbox: Sandbox, request: Exec, deps: Deps, *, grace_s: float) -> Built:
    """Run the build step to its end.

    Args:
        grace_s: The guest enforces the wall limit; after so much longer the sandbox is given up.

    Raises:
        SandboxDied: The sandbox ended, or its agent had no word from us.
        GuestProtocolError: The agent broke its rules.
    """
    grant = attempt.grant
    assert grant is not None
    assert grant.limits.output_bytes is not None
    kept = {stream: Kept(grant.limits.output_bytes) for stream in ("stdout", "stderr")}
    sandbox.link.execute(request, grant.code, ())
    deps.running.cancel_again(attempt.work, deps.cancel_grace_s)
    exited = _collect(sandbox.link, kept, Deadline(request.wall_s + grace_s))
    out, errors = (kept[stream].text_and_base64()[0] for stream in ("stdout", "stderr"))
    if exited is None:
        attempt.is_sandbox_alive = False
        step = Build(stdout=out, stderr=errors, run_s=request.wall_s)
        why = "the build was ended by its wall limit; its sandbox had to be ended"
        return Built(step, Ended(Outcome.TIMEOUT, None, None, "wall", why))
    if exited.is_dead_man and not exited.is_cancelled:
        raise SandboxDied(f"the build was ended while its worker did not answer ({exited.error})")
    attempt.is_sandbox_alive = exited.is_clean
    seen = deps.sandboxes.look(sandbox, thoroughly=exited.code != 0)
    attempt.told.ended(exited, sandbox, was_oom=seen.was_oom)
    step = Build(exit_code=exited.code, stdout=out, stderr=errors, run_s=exited.wall_s)
    peak_bytes = seen.memory_peak_bytes or exited.memory_peak_bytes
    return Built(step, failure_of(name_ending(exited, seen)), exited.cpu_s, peak_bytes)


def failure_of(ended: Ended) -> Ended | None:
    """How a job ends whose build has ended so; None if it goes on. The program has no exit code: it never ran."""
    match ended.outcome:
        case Outcome.OK:
            return None
        case Outcome.ERROR | Outcome.KILLED:
            return Ended(Outcome.ERROR, None, None, None, f"the build failed: {ended.message}")
        case Outcome.CANCELLED:
            return replace(ended, exit_code=None, signal=None)
        case _:
            return replace(ended, exit_code=None, signal=None, message=f"the build {ended.message}")


def error_of(failure: Ended) -> Failure | None:
    """What the Result names as its error: limits and cancels speak for themselves."""
    return Failure(name="BuildFailed", message=failure.message) if failure.outcome is Outcome.ERROR else None


def tidy(attempt: Attempt) -> None:
    """Remove what was built, where anybody can still see it; a sandbox in which that fails is not used again."""
    if not attempt.is_sandbox_alive or not (attempt.work.session or attempt.spec.artifacts):
        return
    try:
        errand.run(attempt, "file", ("remove", OUT), sink=lambda _: None, most_bytes=errand.ANSWER_BYTES)
    except (SandboxDied, GuestProtocolError):
        attempt.is_sandbox_alive = False  # the program has ended well or ill: that stands


def _collect(link: GuestLink, kept: dict[str, Kept], deadline: Deadline) -> Exited | None:
    while not deadline.is_over(link.held_s):
        for message in link.read(POLL_S):
            match message:
                case Output(stream, data):
                    kept[stream].add(data)
                case Exited():
                    return message
                case Refused(reason=reason):
                    raise GuestProtocolError(f"the agent refused the build: {reason}")
    return None
