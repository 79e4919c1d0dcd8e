"""How an ending is written down: the Result, and the two texts in which `settle` publishes it."""

import time
from dataclasses import dataclass

from leasebox.contract import wire
from leasebox.contract.result import Failure, Outcome, Result, Truncated, Usage
from leasebox.contract.scripts.worker import Ending
from leasebox_worker.engine.attempt import Attempt
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


def result_of(attempt: Attempt, ended: Ended, *, where: Where, usage: Usage, error: Failure | None = None) -> Result:
    """Put a Result together; `usage` has what was measured inside the attempt."""
    work, kept, times, told = attempt.work, attempt.publisher.kept, attempt.times, attempt.told
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
        error=error or told.error,
        build=attempt.build,
        results=told.bundles,
        interpreter=told.interpreter,
        session=work.session,
        sandbox=where.sandbox,
        driver=where.driver,
        isolation=where.isolation,
        node=where.node,
        attempt=attempt.number,
        limits=attempt.grant.limits if attempt.grant else None,
        runtime=where.runtime,
        usage=usage.model_copy(
            update={
                "queued_s": max(0.0, work.claimed_at - work.submitted_at),
                "lease_s": times.lease_s,
                "start_s": times.start_s,
                "settle_s": settle_s,
            }
        ),
        artifacts=attempt.left.artifacts,
        new_files=attempt.left.new_files,
        message="; ".join(text for text in (ended.message, attempt.left.message) if text),
        metadata=attempt.spec.metadata,
    )


def ending_of(result: Result, *, exc_type: str | None = None) -> Ending:
    """The texts for `settle`; a large Result goes into `finished` without its big parts, marked `partial`."""
    whole = result.model_dump_json()
    inline = wire.finished_json(whole)
    if len(inline) > MAX_INLINE_BYTES:
        build = result.build and result.build.model_copy(update={"stdout": "", "stderr": ""})
        without: dict[str, object] = {"stdout": "", "stderr": "", "stdout_base64": None, "stderr_base64": None}
        without |= {"results": [], "artifacts": [], "new_files": []}
        small = result.model_copy(update={**without, "build": build})
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
