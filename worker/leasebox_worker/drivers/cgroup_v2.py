"""How does a sandbox get limits where the kernel has one tree of cgroups? Below the worker's own group, if it is ours.

| rule of the kernel | what follows |
|--------------------|--------------|
| a group with processes cannot hand controllers on | the worker first moves into a child group of its own |
| a subtree belongs to who made it unless it was delegated | only with `Delegate=yes`, or where nobody else is in it |

`memory.oom.group` stays 0: it would take the agent, and the session with it, for each job that runs out of memory.
Tested on a made-up tree alone: no machine with cgroup v2 was to be had.
Source: cgroup-v2.rst of the kernel; systemd's "Control Group APIs and Delegation".
"""

import os
from collections.abc import Mapping
from pathlib import Path

from leasebox_worker.drivers.base import Limits
from leasebox_worker.drivers.hardening import CPU_PERIOD_US, SHARES_OF_ALL, cpu_shares

CONTROLLERS = ("memory", "pids", "cpu")
_WORKER = "worker"
_SANDBOXES = "leasebox"
_DELEGATED = "trusted.delegate"
_OF_V1_SHARES = 1024
_DEFAULT_WEIGHT = 100


class Tree:
    """The part of the unified hierarchy that this worker may divide.

    Args:
        root: Where the hierarchy is mounted.
        own: The file that names the group of this process.
    """

    def __init__(self, root: Path, own: Path = Path("/proc/self/cgroup")) -> None:
        self._root = root
        self._own = own

    def can_limit(self) -> bool:
        """Whether sandboxes can get groups here; changes nothing."""
        base = self._base()
        if base is None or not os.access(base / "cgroup.subtree_control", os.W_OK):
            return False
        has_all = set(CONTROLLERS) <= set((base / "cgroup.controllers").read_text().split())
        return has_all and (_is_delegated(base) or _members(base) <= {os.getpid()})

    def folder(self, name: str) -> Path | None:
        """Where the group of a sandbox is, or would be."""
        base = self._base()
        return base / _SANDBOXES / name if base else None

    def divide(self) -> None:
        """Make room for groups of sandboxes; again is fine.

        Raises:
            OSError: The kernel refused.
        """
        base = self._base()
        if base is None or (base / _SANDBOXES).is_dir():
            return
        (base / _WORKER).mkdir(exist_ok=True)
        for pid in _members(base):
            (base / _WORKER / "cgroup.procs").write_text(str(pid))
        (base / _SANDBOXES).mkdir()
        wanted = " ".join(f"+{name}" for name in CONTROLLERS)
        for group in (base, base / _SANDBOXES):
            (group / "cgroup.subtree_control").write_text(wanted)
        (base / _SANDBOXES / "cpu.weight").write_text(str(_weight(SHARES_OF_ALL)))

    def _base(self) -> Path | None:
        """The group that the worker was started in."""
        if not (self._root / "cgroup.controllers").exists():
            return None
        for line in self._own.read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                here = self._root / path.lstrip("/")
                return here.parent if here.name == _WORKER else here
        return None


def settings(limits: Limits) -> Mapping[str, str]:
    """What to write into the files of a sandbox's group."""
    return {
        "memory.max": str(limits.memory_bytes),
        "memory.swap.max": "0",
        "pids.max": str(limits.pids),
        "cpu.max": f"{int(limits.cpus * CPU_PERIOD_US)} {CPU_PERIOD_US}",
        "cpu.weight": str(_weight(cpu_shares(limits))),
    }


def _weight(shares: int) -> int:
    return max(1, _DEFAULT_WEIGHT * shares // _OF_V1_SHARES)


def _is_delegated(group: Path) -> bool:
    try:
        return os.getxattr(group, _DELEGATED) == b"1"
    except OSError:
        return False


def _members(group: Path) -> set[int]:
    return {int(line) for line in (group / "cgroup.procs").read_text().split()}
