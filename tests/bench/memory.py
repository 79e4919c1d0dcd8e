"""How much memory does it hold? A process, what it grows by for a while, and a sandbox that waits for its first job."""

from __future__ import annotations

import json
import os
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench import budget, stock
from tests.bench.stand import MIB, Pool, Report, Size, Stack, pause

LOOK_S = 0.02


class Memory(NamedTuple):
    """Of one process, in MiB; PSS counts a page that others share by its share, `anonymous` without files."""

    pss: float
    rss: float
    anonymous: float


def memory_of(pid: int) -> Memory:
    """By `/proc/PID/smaps_rollup`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
    return Memory(sizes["Pss"], sizes["Rss"], sizes["Pss_Anon"])


def resident_bytes(pid: int) -> int:
    """What of a process is in memory; cheap enough to be asked all the time."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """The processes below a process, whoever started them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    found, last = list[int](), {pid}
    while last:
        last = {child for child, parent in parents.items() if parent in last}
        found += last
    return found


@contextmanager
def growth_of(pid: int) -> Iterator[list[int]]:
    """Bytes by which a process is larger than at the start of the block, looked at again and again."""
    before, is_over = resident_bytes(pid), threading.Event()
    grown = [0]

    def look() -> None:
        while not is_over.wait(LOOK_S):
            grown.append(resident_bytes(pid) - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield grown
    finally:
        is_over.set()
        thread.join()


def idle_sandbox(stack: Stack, size: Size, report: Report) -> None:
    """What a warm Docker sandbox holds that no job has used: what its cgroup counts, which is what one more costs.

    The share of its processes in what they hold has pages of the image too, and depends on who else has them.
    """
    Pool(stack).wait_until_full()
    pause(size.idle_s)
    shares, counted = [], []
    for text in Pool(stack).ready():
        name = json.loads(text)["name"]
        pids = [int(pid) for pid in stock.docker("top", name, "-eo", "pid").split()[1:]]
        shares.append(sum(memory_of(pid).pss for pid in pids))
        counted.append(_counted_mib(pids[0]))
    report.seen[budget.IDLE] = statistics.median(counted)
    report.notes.append(
        f"An idle warm Docker sandbox: its cgroup counts {statistics.median(counted):.1f} MiB; the share of its"
        f" processes in all that they hold, pages of the image included, is {statistics.median(shares):.1f} MiB."
    )


def _counted_mib(pid: int) -> float:
    """What the memory cgroup of a process is charged with, in either version of the hierarchy."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.usage_in_bytes").read_text()) / MIB
        if not controllers:
            unified = Path(f"/sys/fs/cgroup{path}/memory.current")
            if unified.exists():
                return int(unified.read_text()) / MIB
    raise SystemExit(f"process {pid} is in no memory cgroup")
