"""How much did a sandbox use, and how is it kept from using more? On v1 here; what v2 has of its own is in `cgroup_v2`.

Source: kernel documentation, admin-guide/cgroup-v1/{memory,pids}.rst, scheduler/sched-bwc.rst, cgroup-v2.rst.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from leasebox.contract.errors import SandboxDied, StartFailed
from leasebox_worker.drivers import cgroup_v2
from leasebox_worker.drivers.base import Limits, Stats
from leasebox_worker.drivers.hardening import CPU_PERIOD_US, SHARES_OF_ALL, cpu_shares

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("memory", "pids", "cpu", "cpuacct")
_PARENT = "leasebox"
_REMOVE_WITHIN_S = 5.0
_MOST_BYTES = 4096

Groups = Mapping[str, Path]
"""Controller to folder; "" is the unified hierarchy."""


@dataclass(frozen=True)
class LimitsSeen:
    """What the kernel enforces on a sandbox; None = not limited, or not to be seen from here."""

    memory_bytes: int | None
    swap_bytes: int | None
    pids: int | None
    cpus: float | None


def can_limit() -> bool:
    """Whether this process may make limited cgroups: root, and v1 controllers or a subtree of v2 that is its own."""
    return os.geteuid() == 0 and (_is_v1() or cgroup_v2.Tree(ROOT).can_limit())


def _is_v1() -> bool:
    return bool(_folders_v1(ROOT))


@lru_cache(maxsize=8)
def _folders_v1(root: Path) -> Groups:
    """The folders of the v1 controllers, none on v2. Looked up once: a host has them in one way while it runs."""
    if not all(os.access(root / name / "cgroup.procs", os.W_OK) for name in NEEDED):
        return {}
    return {name: (root / name).resolve() for name in NEEDED}


def create(name: str, limits: Limits) -> list[Path]:
    """Make one group per controller, or the only one, and set its limits.

    Raises:
        StartFailed: The kernel refused; nothing is left behind.
    """
    groups = groups_of(name)
    try:
        if _is_v1():
            _create_v1(name, groups, limits)
        else:
            _create_v2(groups, limits)
    except OSError as exc:
        remove(groups)
        raise StartFailed(f"no cgroup for {name}: {exc}") from exc
    return groups


def _create_v1(name: str, groups: list[Path], limits: Limits) -> None:
    parent = ROOT / "cpu" / _PARENT
    if not parent.is_dir():
        parent.mkdir(exist_ok=True)
        (parent / "cpu.shares").write_text(str(SHARES_OF_ALL))  # only once: an operator may change it
    for group in groups:
        group.mkdir(parents=True)
    for file, value in _settings(limits).items():
        controller, _, _ = file.partition(".")
        target = ROOT / controller / _PARENT / name / file
        # memsw exists only where the kernel counts swap; `verify` compares, so a missing one is seen there.
        if target.exists() or "memsw" not in file:
            target.write_text(value)


def _create_v2(groups: list[Path], limits: Limits) -> None:
    cgroup_v2.Tree(ROOT).divide()
    for group in groups:
        group.mkdir()
        for file, value in cgroup_v2.settings(limits).items():
            (group / file).write_text(value)


def groups_of(name: str) -> list[Path]:
    """Where the groups of a sandbox are, or would be; controllers that share a mount share a folder."""
    return list(dict.fromkeys(by_controller(name).values()))


def by_controller(name: str) -> Groups:
    """The same by controller."""
    if not _is_v1():
        folder = cgroup_v2.Tree(ROOT).folder(name)
        return {"": folder} if folder else {}
    return {controller: folder / _PARENT / name for controller, folder in _folders_v1(ROOT).items()}


def members(group: Path) -> list[int]:
    """Pids in a group; none for a group that is gone."""
    return [int(line) for line in _text(group / "cgroup.procs").split()]


def remove(groups: list[Path]) -> None:
    """Remove groups whose processes are dead or dying; the kernel says EBUSY until the last one is reaped."""
    deadline = time.monotonic() + _REMOVE_WITHIN_S
    for group in groups:
        with suppress(OSError):
            (group / "cgroup.kill").write_text("1")  # v2; what is not there is not made: the kernel refuses
        _remove_one(group, deadline)


def _remove_one(group: Path, deadline: float) -> None:
    while group.exists():
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)


def groups_with(name: str, pid: int) -> Groups:
    """The cgroups of a process, if they carry `name` and can be read here; else none.

    None for a pid that another host or pid namespace told us: here it is nobody, or somebody else.
    """
    try:
        found = groups_of_process(pid)
    except SandboxDied:
        return {}
    return found if any(name in str(folder) for folder in found.values()) else {}


def stats(groups: Groups) -> Stats:
    """What a sandbox used, by its cgroups.

    Raises:
        SandboxDied: They are gone.
    """
    memory, cpu, pids = groups.get("memory"), groups.get("cpuacct"), groups.get("pids")
    unified = groups.get("")
    if memory and cpu and pids:
        return Stats(
            cpu_s=_living(cpu / "cpuacct.usage") / 1e9,
            memory_bytes=_number(memory / "memory.usage_in_bytes") or 0,
            memory_peak_bytes=_number(memory / "memory.max_usage_in_bytes") or 0,
            oom_kills=_field(memory / "memory.oom_control", "oom_kill"),
            pids=_number(pids / "pids.current") or 0,
            pids_refused=_field(pids / "pids.events", "max"),
        )
    if unified:
        return Stats(
            cpu_s=_field(unified / "cpu.stat", "usage_usec") / 1e6,
            memory_bytes=_living(unified / "memory.current"),
            memory_peak_bytes=_number(unified / "memory.peak") or 0,
            oom_kills=_field(unified / "memory.events", "oom_kill"),
            pids=_number(unified / "pids.current") or 0,
            pids_refused=_field(unified / "pids.events", "max"),
        )
    raise SandboxDied("no cgroup that can be read")


def limits_of(groups: Groups) -> LimitsSeen:
    """The limits that the kernel enforces, read from outside of the sandbox."""
    memory, cpu, pids = groups.get("memory"), groups.get("cpu"), groups.get("pids")
    unified = groups.get("")
    if memory and cpu and pids:
        quota, period = _number(cpu / "cpu.cfs_quota_us"), _number(cpu / "cpu.cfs_period_us")
        total = _number(memory / "memory.memsw.limit_in_bytes")
        bound = _number(memory / "memory.limit_in_bytes")
        swap = None if total is None or bound is None else total - bound
        cpus = quota / period if quota and period and quota > 0 else None
        return LimitsSeen(bound, swap, _number(pids / "pids.max"), cpus)
    if unified:
        quota_text, _, period_text = _text(unified / "cpu.max").partition(" ")
        cpus = int(quota_text) / int(period_text) if quota_text.isdigit() else None
        swap = _number(unified / "memory.swap.max")
        return LimitsSeen(_number(unified / "memory.max"), swap, _number(unified / "pids.max"), cpus)
    return LimitsSeen(None, None, None, None)


def _settings(limits: Limits) -> Mapping[str, str]:
    """In this order: the kernel refuses memory+swap below memory."""
    return {
        "memory.limit_in_bytes": str(limits.memory_bytes),
        "memory.memsw.limit_in_bytes": str(limits.memory_bytes),
        "pids.max": str(limits.pids),
        "cpu.cfs_period_us": str(CPU_PERIOD_US),
        "cpu.cfs_quota_us": str(int(limits.cpus * CPU_PERIOD_US)),
        "cpu.shares": str(cpu_shares(limits)),
    }


def groups_of_process(pid: int) -> Groups:
    """Where a process of this host is. Lines are `id:controllers:path` (cgroups(7)).

    Raises:
        SandboxDied: It is gone.
    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError as exc:
        raise SandboxDied(f"process {pid} is gone") from exc
    if state in "ZX":
        # A dead one is shown in the root group, whose figures are the whole host's.
        raise SandboxDied(f"process {pid} is dead")
    found: dict[str, Path] = {}
    for line in lines:
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            folder = (ROOT / name if name else ROOT) / path.lstrip("/")
            if folder.is_dir():
                found[name] = folder
    return found


def _text(file: Path) -> str:
    """What a small file of the kernel's says, "" if it is gone. Six are read at each job's end: no text layer."""
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return os.read(descriptor, _MOST_BYTES).decode().strip()
        finally:
            os.close(descriptor)
    return ""


def _living(file: Path) -> int:
    number = _number(file)
    if number is None:
        raise SandboxDied(f"{file.parent} is gone")
    return number


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.lstrip("-").isdigit() else None


def _field(file: Path, name: str) -> int:
    for line in _text(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
