"""Which pages does a process make its own while it waits?

A fork shares its pages with the agent, and the first write to each costs either of them a page fault: 1 to 3
microseconds on a virtual machine, some 300 in the agent and 600 in the job for each small job (decision 8).
"""

from __future__ import annotations

import select

from leasebox_guest import posix

_PORTION_BYTES = 256 << 10  # about 0.15 ms
_MOST_BYTES = 16 << 20

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

    def take_over(self, unless_readable: int) -> None:
        """Make them this process's own; stop as soon as there is something to read instead."""
        work = select.poll()
        work.register(unless_readable, select.POLLIN)
        for start, end in without(writable(), self._shared):
            for at in range(start, end, _PORTION_BYTES):
                if work.poll(0):
                    return
                posix.fault_in(at, min(_PORTION_BYTES, end - at))
