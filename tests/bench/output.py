"""How soon does output come, how fast does a flood, and does the worker stay small meanwhile?"""

from __future__ import annotations

import statistics
import time

from tests.bench import budget
from tests.bench.memory import growth_of
from tests.bench.stand import MIB, WITHIN_S, Report, Size, Stack, timed

LINE_EVERY_S = 0.06
"""Well beyond the 20 ms in which lines are joined: each is the first one again."""
FIRST = "first byte of output"
SESSION = "bench-output"
FLOOD = "import os\nfor _ in range({pieces}): os.write(1, b'x' * 65535 + b'\\n')"
STAMPS = "import time\nfor _ in range({lines}): print(time.time_ns(), flush=True); time.sleep({pause_s})"


def measure(stack: Stack, size: Size, report: Report) -> None:
    """Lines one by one, then a flood in some turns."""
    delays = _delays(stack, size.lines)
    report.samples[FIRST] = delays
    report.seen[budget.FIRST_BYTE] = statistics.median(delays) * 1e3
    size_bytes = size.megabytes * MIB
    flood(stack, size_bytes)  # what the worker keeps from now on is no leak
    found: list[float] = []
    with growth_of(stack.worker.pid) as grown:
        for _ in range(size.turns):
            found.append(timed(lambda: flood(stack, size_bytes)))
    report.samples[f"{size.megabytes} MiB of output through the queue"] = found
    report.seen[budget.OUTPUT] = statistics.median(found)
    report.seen[budget.OUTPUT_MEMORY] = max(grown) / MIB


def _delays(stack: Stack, lines: int) -> list[float]:
    """Seconds from each write until its event is here, by the one clock of this machine."""
    handle = stack.client.submit(STAMPS.format(lines=lines + 1, pause_s=LINE_EVERY_S), session=SESSION)
    found = []
    for event in handle.events(timeout_s=WITHIN_S):
        now_ns = time.time_ns()
        if event.type == "stdout":
            found += [(now_ns - int(line)) / 1e9 for line in event.text.split()]
    return found[1:]  # the first one comes with the start


def flood(stack: Stack, size_bytes: int) -> None:
    """One job that writes so much, and a reader who takes it all."""
    handle = stack.client.submit(FLOOD.format(pieces=size_bytes // 65536), session=SESSION)
    came = sum(len(event.data) for event in handle.events(timeout_s=WITHIN_S) if event.type == "stdout")
    handle.result(timeout_s=WITHIN_S).raise_for_outcome()
    assert came == size_bytes, f"{came} of {size_bytes} bytes"
