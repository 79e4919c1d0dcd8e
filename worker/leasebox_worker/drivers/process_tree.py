"""Which processes belong to an agent that has no namespace of its own, what do they use, and how do all of them end?

The agent is the reaper of its descendants (PR_SET_CHILD_SUBREAPER), so none can leave the tree while it lives.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from leasebox.contract.errors import SandboxDied
from leasebox_worker.drivers.base import Stats

_END_WITHIN_S = 5.0
_POLL_S = 0.001
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> list[int]:
    """Pids below `root`, zombies left out, parents before children."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        fields = _stat(pid)
        if fields and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def end_tree(root: int) -> None:
    """Kill everything below `root`, then `root`: while it lives, all that it started is to be found below it."""
    deadline = time.monotonic() + _END_WITHIN_S
    _signal(root, signal.SIGSTOP)
    while (living := descendants(root)) and time.monotonic() < deadline:
        # Stop all before the first kill: who is stopped cannot fork between the look and the kill.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in living:
                _signal(pid, number)
        time.sleep(_POLL_S)
    _signal(root, signal.SIGKILL)


def end_uid(uid: int) -> None:
    """Kill every process of a uid that belongs to one sandbox alone."""
    deadline = time.monotonic() + _END_WITHIN_S
    while (living := [pid for pid in _all_pids() if _is_of(pid, uid)]) and time.monotonic() < deadline:
        for pid in living:
            _signal(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def tree_stats(root: int) -> Stats:
    """CPU time and memory of a tree, from /proc: what ended without being waited for is missing, peaks are not known.

    Raises:
        SandboxDied: `root` is gone.
    """
    fields = _stat(root)
    if fields is None or fields[0] in "ZX":
        raise SandboxDied(f"process {root} is gone")
    pids = [root, *descendants(root)]
    found = [fields for pid in pids if (fields := _stat(pid))]
    ticks = sum(int(field) for fields in found for field in fields[11:15])
    memory = sum(int(fields[21]) for fields in found) * _PAGE_BYTES
    return Stats(ticks / _TICKS_PER_S, memory, memory, 0, len(pids))


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _is_of(pid: int, uid: int) -> bool:
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return False
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return any(line.startswith("Uid:") and line.split()[1] == str(uid) for line in lines)
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
