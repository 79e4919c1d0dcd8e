"""How an ending is written down: the Result, and the two texts in which `settle` publishes it."""

import time
from dataclasses import dataclass

from leasebox.contract import wire
from leasebox.contract.result import Failure, Outcome, Result, Truncated, Usage
from leasebox.contract.scripts.answers import Work
from leasebox.contract.scripts.worker import Ending
from leasebox.contract.spec import JobSpec, Limits
from leasebox_worker.engine.cells import Told
from leasebox_worker.engine.kept import Kept
from leasebox_worker.engine.outcome import Ended

MAX_INLINE_BYTES = 64 << 10
"""A Result above this travels in `finished` without its big parts; readers fetch the meta key."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where an attempt ran."""

    node: str
    sandbox: str | None
    driver: str
    isolation: str
    runtime: str | None


@dataclass(slots=True)
class Times:
    """Moments of an attempt, unix or monotonic seconds as the field says, filled in as they pass."""

    lease_s: float = 0.0
    start_s: float = 0.0
    exited_at: float | None = None
    redis_s: float = 0.0


def result_of(
    work: Work,
    spec: JobSpec,
    ended: Ended,
    *,
    where: Where,
    times: Times,
    limits: Limits | None,
    kept: dict[str, Kept],
    usage: Usage,
    attempt: int,
    error: Failure | None = None,
    told: Told | None = None,
) -> Result:
    """Put a Result together; `usage` has what was measured inside the attempt."""
    stdout, stdout_base64 = kept["stdout"].text_and_base64()
    stderr, stderr_base64 = kept["stderr"].text_and_base64()
    settle_s = time.monotonic() - times.exited_at if times.exited_at is not None else 0.0
    return Result(
        job=work.job,
        outcome=ended.outcome,
        ok=ended.outcome is Outcome.OK,
        exit_code=ended.exit_code,
        signal=ended.signal,
        stdout=stdout,
        stderr=stderr,
        stdout_base64=stdout_base64,
        stderr_base64=stderr_base64,
        truncated=Truncated(stdout=kept["stdout"].is_truncated, stderr=kept["stderr"].is_truncated),
        limit=ended.limit,
        error=error or (told.error if told else None),
        results=told.bundles if told else [],
        interpreter=told.interpreter if told else "none",
        session=work.session,
        sandbox=where.sandbox,
        driver=where.driver,
        isolation=where.isolation,
        node=where.node,
        attempt=attempt,
        limits=limits,
        runtime=where.runtime,
        usage=usage.model_copy(
            update={
                "queued_s": max(0.0, work.claimed_at - work.submitted_at),
                "lease_s": times.lease_s,
                "start_s": times.start_s,
                "settle_s": settle_s,
            }
        ),
        message=ended.message,
        metadata=spec.metadata,
    )


def ending_of(result: Result, *, exc_type: str | None = None) -> Ending:
    """The texts for `settle`; a large Result goes into `finished` without its big parts, marked `partial`."""
    whole = result.model_dump_json()
    inline = wire.finished_json(whole)
    if len(inline) > MAX_INLINE_BYTES:
        small = result.model_copy(
            update={"stdout": "", "stderr": "", "stdout_base64": None, "stderr_base64": None, "results": []}
        )
        inline = wire.finished_json(small.model_dump_json(), partial=True)
    return Ending(
        outcome=result.outcome,
        meta=wire.meta_text(
            result.job, result.outcome, whole, done_at=time.time(), message=result.message, exc_type=exc_type
        ),
        finished_json=inline,
        exit_code=result.exit_code,
        cpu_s=result.usage.cpu_s,
        output_bytes=result.usage.output_bytes,
    )
