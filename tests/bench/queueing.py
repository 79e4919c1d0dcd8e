"""How long would jobs wait? A small discrete-event model of the queue: slots, lines, first come first served; pure.

A job waits for its line, whose jobs run one after the other, and for a slot. Nothing else is in the model: what a job
needs beside others is in its service time, which is measured.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class Arrival(NamedTuple):
    """A job: when it was submitted, in which line, and how long it has a slot; seconds."""

    at_s: float
    line: str
    service_s: float


def waits(arrivals: Sequence[Arrival], slots: int) -> list[float]:
    """From each one's submit until it has a slot, in the order given, which is that of arrival."""
    found = [0.0] * len(arrivals)
    waiting: list[int] = []
    ends: list[tuple[float, str]] = []
    busy: set[str] = set()

    def start_what_can(now_s: float) -> None:
        for n in list(waiting):
            if len(ends) == slots:
                return
            at_s, line, service_s = arrivals[n]
            if line not in busy:
                busy.add(line)
                waiting.remove(n)
                found[n] = now_s - at_s
                heapq.heappush(ends, (now_s + service_s, line))

    def end_until(now_s: float) -> None:
        while ends and ends[0][0] <= now_s:
            ended_s, line = heapq.heappop(ends)
            busy.discard(line)
            start_what_can(ended_s)

    for n, arrival in enumerate(arrivals):
        end_until(arrival.at_s)
        waiting.append(n)
        start_what_can(arrival.at_s)
    end_until(float("inf"))
    return found
