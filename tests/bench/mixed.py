"""Where is the knee, and does one long job in a hundred starve the short ones? Queue wait, beside what a model says.

Usage: python tests/bench/run.py --mixed [--jobs N] [--driver docker|bubblewrap]
Jobs arrive at random times (exponential gaps) at a share of the rate at which the worker was just seen to end them,
short ones in some sessions, long ones in sessions of their own. Each load runs without long jobs, then with them. The
model (`queueing`) gets the same arrivals and the service times that the results tell.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.budget import quantiles
from tests.bench.queueing import Arrival, waits
from tests.bench.stand import Stack, pause, stack, timed
from tests.bench.waterfall import Spent

from leasebox.client import JobHandle
from leasebox.contract.result import Result
from leasebox.contract.spec import JobSpec

JOBS = 300
"""Of each run."""
LINES = 6
LONG_LINES = 2
LONG_EVERY = 100
LONG_S = 2.0
LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
"""Past the knee; jobs that come one by one cost more than those of the burst that is the measure."""
SLOTS = max(4, 4 * (os.cpu_count() or 1)) - 1
"""The worker's default, less the one that only interactive jobs may take."""
SEED = 20


@dataclass(frozen=True)
class Planned:
    """A job to submit, so many seconds after the start."""

    at_s: float
    line: str
    is_long: bool


def plan(count: int, rate: float, *, has_long: bool) -> list[Planned]:
    """Arrivals at a rate; one in a hundred is long, or none. The same for the same arguments; pure."""
    dice = random.Random(SEED)
    at_s, planned = 0.0, []
    for n in range(count):
        at_s += dice.expovariate(rate)
        is_long = has_long and n % LONG_EVERY == LONG_EVERY // 2
        line = f"long-{n // LONG_EVERY % LONG_LINES}" if is_long else f"short-{dice.randrange(LINES)}"
        planned.append(Planned(at_s, line, is_long))
    return planned


def measure(jobs: int, driver: str) -> str:
    """The table, ready to print."""
    with stack(driver) as made:
        rate = _rate(made)
        rows = [_row(made, jobs, rate, load, has_long=has_long) for load in LOADS for has_long in (False, True)]
    head = [
        f"{jobs} jobs a row in {LINES} sessions; all at once they end at {rate:.0f} a second. Long: {LONG_S:g} s.",
        "",
        "| load | jobs/s | long jobs | queue wait of short ones, p50 ms | p95 | p99 | p99 by the model | longest "
        "of all | service, p50 ms | processor time, ms a job |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def _rate(made: Stack) -> float:
    """Jobs a second when all are there at once; makes the sessions, too."""
    lines = [f"short-{n}" for n in range(LINES)] + [f"long-{n}" for n in range(LONG_LINES)]
    for line in lines:
        made.client.run("pass", session=line, check=True, wait_s=60)
    specs = [JobSpec(code="pass", session=f"short-{n % LINES}") for n in range(50 * LINES)]
    return len(specs) / timed(lambda: [handle.result(timeout_s=60) for handle in made.client.submit_many(specs)])


def _row(made: Stack, jobs: int, rate: float, load: float, *, has_long: bool) -> str:
    planned = plan(jobs, rate * load, has_long=has_long)
    spent = Spent(made)
    results = [handle.result(timeout_s=120) for handle in _submitted(made, planned)]
    processors_s = sum(spent.since().values())
    assert all(result.ok for result in results)
    arrivals = [Arrival(job.at_s, job.line, _service_s(result)) for job, result in zip(planned, results, strict=True)]
    real = quantiles(_of_short(planned, [result.usage.queued_s * 1e3 for result in results]))
    model = quantiles(_of_short(planned, [wait_s * 1e3 for wait_s in waits(arrivals, SLOTS)]))
    most = max(result.usage.queued_s for result in results) * 1e3
    told = " | ".join(f"{value:.0f}" for value in (real.p50, real.p95, real.p99, model.p99, most))
    service = quantiles(_of_short(planned, [arrival.service_s * 1e3 for arrival in arrivals]))
    costs = f"{service.p50:.1f} | {processors_s / jobs * 1e3:.1f}"
    return f"| {load:.0%} | {rate * load:.0f} | {'1 %' if has_long else 'none'} | {told} | {costs} |"


def _submitted(made: Stack, planned: Sequence[Planned]) -> list[JobHandle]:
    """Submitted when it is their time, whether or not those before have ended."""
    began, handles = time.monotonic(), []
    for job in planned:
        pause(max(0.0, began + job.at_s - time.monotonic()))
        code = f"import time; time.sleep({LONG_S})" if job.is_long else "pass"
        handles.append(made.client.submit(code, session=job.line))
    return handles


def _service_s(result: Result) -> float:
    usage = result.usage
    return usage.lease_s + usage.start_s + usage.run_s + usage.settle_s


def _of_short(planned: Sequence[Planned], values: Sequence[float]) -> list[float]:
    return [value for job, value in zip(planned, values, strict=True) if not job.is_long]
