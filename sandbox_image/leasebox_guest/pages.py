"""Which pages does a process make its own while it waits?

A fork shares its pages with the agent, and the first write to each costs either of them a page fault: 1 to 3
microseconds on a virtual machine, some 300 in the agent and 600 in the job for each small job (decision 8).
"""

from __future__ import annotations

import os
import select

from leasebox_guest import posix

_PORTION_BYTES = 256 << 10  # about 0.15 ms
_MOST_BYTES = 16 << 20
BUSY_S = 0.001
"""Who has waited so long for a processor since the last look leaves the work to do to others: pages can wait."""

Ranges = list[tuple[int, int]]
"""Addresses from, up to but not including."""


def writable() -> Ranges:
    """This process's private, writable memory, less its stack."""
    with open("/proc/self/maps", "rb") as maps:  # noqa: PTH123 (pathlib is too dear for the agent)
        rows = [row.split(None, 1)[0] for row in maps if b" rw-p " in row and b"[stack]" not in row]
    return [(int(start, 16), int(end, 16)) for start, _, end in (row.partition(b"-") for row in rows)]


def without(ranges: Ranges, holes: Ranges) -> Ranges:
    """What of `ranges` is in none of the `holes`."""
    for start, end in holes:
        parts = [((a, min(b, start)), (max(a, end), b)) for a, b in ranges]
        ranges = [part for pair in parts for part in pair if part[0] < part[1]]
    return ranges


class Pages:
    """The memory of the agent that its forks, and the agent beside them, are likely to write.

    Args:
        before: Writable memory before any preload.
        after: And after it. Where all of that is large, what lies between stays shared: little of it is ever written.
    """

    def __init__(self, before: Ranges, after: Ranges) -> None:
        size_bytes = sum(end - start for start, end in after)
        self._shared = without(after, before) if size_bytes > _MOST_BYTES else []
        self._looked = (os.getpid(), waited_s())

    def take_over(self, unless_readable: int) -> None:
        """Make them this process's own, unless processors are short; stop as soon as there is something to read."""
        if self.is_busy():
            return
        work = select.poll()
        work.register(unless_readable, select.POLLIN)
        for start, end in without(writable(), self._shared):
            for at in range(start, end, _PORTION_BYTES):
                if work.poll(0):
                    return
                posix.fault_in(at, min(_PORTION_BYTES, end - at))

    def is_busy(self) -> bool:
        """Whether this process waited for a processor since its last look, or, forked meanwhile, since it began."""
        pid, before_s = self._looked
        self._looked = (os.getpid(), waited_s())
        return self._looked[1] - (before_s if self._looked[0] == pid else 0.0) > BUSY_S


def waited_s() -> float:
    """How long this process was ready to run and did not; 0 where the kernel does not count it."""
    try:
        with open("/proc/self/schedstat", "rb") as file:  # noqa: PTH123 (as above)
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0
