"""What must each figure be? The speed budget as data, and the verdict on what was seen; pure.

Times of the budget are those of a quiet machine with two cores. Where it names a ratio, both sides were measured in the
same run, in turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Met(StrEnum):
    """How far a figure is met."""

    STRETCH = "yes, and the stretch"
    MUST = "yes"
    NO = "**no**"
    UNSEEN = "not measured"


@dataclass(frozen=True)
class Figure:
    """One line of the budget.

    Attributes:
        name: As the table says it.
        unit: Of all three numbers.
        must: The worst that is accepted.
        stretch: What is aimed at.
        is_more_better: Rates and ratios of rates.
    """

    name: str
    unit: str
    must: float
    stretch: float
    is_more_better: bool = False

    def verdict(self, seen: float | None) -> Met:
        """Whether what was seen is good enough; a figure at its bound is."""
        if seen is None:
            return Met.UNSEEN
        sign = -1 if self.is_more_better else 1
        if sign * seen <= sign * self.stretch:
            return Met.STRETCH
        return Met.MUST if sign * seen <= sign * self.must else Met.NO


WARM_P50 = Figure("warm job through the queue, p50", "ms", 15, 8)
WARM_P95 = Figure("the same, p95", "ms", 30, 16)
WARM_RATIO = Figure("the same, p50 against a stock Celery no-op", "x", 2.5, 1.5)
POOL_HIT = Figure("fresh sandbox on a pool hit, p50", "ms", 25, 12)
WARM_RATE = Figure("jobs/s on warm sessions", "", 150, 300, is_more_better=True)
WARM_RATE_RATIO = Figure("the same against the bare agent over attach", "x", 0.5, 0.8, is_more_better=True)
DOCKER_RATIO = Figure("jobs/s, a new Docker sandbox each, against `docker run --rm`", "x", 0.9, 1.2, True)
BUBBLEWRAP_RATE = Figure("jobs/s, a new bubblewrap sandbox each", "", 25, 60, is_more_better=True)
BURST = Figure("50 jobs at once in one session, per job", "ms", 10, 6)
CELL = Figure("cell `1+1` in a warm stateful session, p50", "ms", 8, 4)
INTERPRETER = Figure("start of an interpreter, first cell included, p50", "ms", 100, 30)
FIRST_BYTE = Figure("first byte of output after the program wrote it, p50", "ms", 5, 3)
OUTPUT = Figure("50 MB of output through the queue", "s", 1.5, 0.8)
OUTPUT_MEMORY = Figure("the worker's growth meanwhile", "MiB", 8, 4)
IDLE = Figure("idle warm Docker sandbox", "MiB", 12, 8)
SUBMIT = Figure("submit, one after another, p50", "ms", 0.6, 0.3)
SUBMIT_MANY = Figure("submit_many of 10,000", "s", 2, 1)
COMMANDS = Figure("Redis commands of a warm stateless job", "", 10, 7)
IMPORT = Figure("`import leasebox` and its client, p50", "ms", 250, 150)
RUN = Figure("`leasebox run` with a warm embedded stack, p50", "ms", 400, 250)

BUDGET = (
    WARM_P50,
    WARM_P95,
    WARM_RATIO,
    POOL_HIT,
    WARM_RATE,
    WARM_RATE_RATIO,
    DOCKER_RATIO,
    BUBBLEWRAP_RATE,
    BURST,
    CELL,
    INTERPRETER,
    FIRST_BYTE,
    OUTPUT,
    OUTPUT_MEMORY,
    IDLE,
    SUBMIT,
    SUBMIT_MANY,
    COMMANDS,
    IMPORT,
    RUN,
)

Seen = Mapping[Figure, float]
"""What a part of the run has found of the budget; a figure that is not in it was not measured."""


@dataclass(frozen=True)
class Quantiles:
    """Of some samples, in their unit; the count says how much the last of them mean."""

    count: int
    p50: float
    p95: float
    p99: float


def quantiles(samples: Sequence[float]) -> Quantiles:
    """Of at least one sample."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Quantiles(
        len(ordered), statistics.median(ordered), *(ordered[min(last, int(len(ordered) * q))] for q in (0.95, 0.99))
    )
