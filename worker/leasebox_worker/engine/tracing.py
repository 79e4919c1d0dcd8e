"""What do log and traces say of one claim of a job? Its ids in every line, a span for it, and spans of its phases."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from leasebox.contract.result import Outcome
from leasebox.contract.scripts import answers as a
from leasebox.contract.telemetry import traces
from leasebox_worker.engine.attempt import Attempt, Times


@contextmanager
def attempt_of(work: a.Work, node: str) -> Iterator[traces.Span]:
    """While the block lasts every line and span belongs to this claim."""
    values = {
        traces.JOB: work.job,
        traces.TENANT: work.tenant,
        traces.SESSION: work.session,
        traces.PROFILE: work.profile,
    }
    parent = traces.checked(work.traceparent)
    with (
        traces.span("leasebox.job", kind="consumer", parent=parent, values={**values, traces.NODE: node}) as span,
        structlog.contextvars.bound_contextvars(
            job_id=work.job, tenant=work.tenant, session_id=work.session, node=node, **traces.ids()
        ),
    ):
        traces.past("leasebox.queue", work.submitted_at, work.claimed_at, parent, values)
        yield span


def tell_phases(attempt: Attempt, outcome: Outcome) -> None:
    """What an attempt that has just been settled spent its time on."""
    traces.note({traces.OUTCOME: str(outcome), traces.ATTEMPT: attempt.number})
    now, clock = time.time(), time.monotonic()
    for name, began_at, ended_at in phases(attempt.times, clock):
        traces.past(f"leasebox.{name}", now - clock + began_at, now - clock + ended_at)


def phases(times: Times, now: float) -> list[tuple[str, float, float]]:
    """Name, begin and end of each phase that an attempt has reached, one behind the other; pure.

    Args:
        now: When it was settled, by the clock of `times`.
    """
    found, at = [], times.began_at
    for name, took_s in (("lease", times.lease_s), ("start", times.start_s)):
        if took_s > 0:
            found.append((name, at, at + took_s))
            at += took_s
    if times.exited_at is not None:
        found.append(("run", at, times.exited_at))
        at = times.exited_at
    return [*found, ("settle", at, now)]
