"""No bomb gets more than its limit; each starts only when the limit was seen in effect, and carries its own cap."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.security.conftest import FORMS, LIMITS, MIB, Ground, leaked

from leasebox_worker.drivers import hardening
from leasebox_worker.drivers.cgroup import LimitsSeen

pytestmark = pytest.mark.slow

WORKSPACE, TMP, SHM = hardening.writable(LIMITS)
MEMORY = LIMITS.memory_bytes


@dataclass(frozen=True)
class Bomb:
    """One thing that runs out.

    Attributes:
        guard: What must be seen in effect first: an attribute of `LimitsSeen`, a resource limit, or a file system.
        cap: Where the bomb ends by itself. Little more than `most`, so that a missing limit costs the machine nothing.
        gap: Why R1 does not hold it: a name of `bubblewrap_arguments.ROOTLESS_LACKS`; there it must reach the cap.
    """

    guard: str
    cap: int
    most: int
    gap: str | None = None


BOMBS = {
    "forks": Bomb("pids", 60, LIMITS.pids),
    "threads": Bomb("pids", 60, LIMITS.pids),
    "heap": Bomb("memory_bytes", MEMORY + 32 * MIB, MEMORY),
    "shared map": Bomb("memory_bytes", MEMORY + 32 * MIB, MEMORY, gap="memory-limit"),
    "memfd": Bomb("memory_bytes", MEMORY + 32 * MIB, MEMORY, gap="memory-limit"),
    "sysv": Bomb("memory_bytes", MEMORY + 32 * MIB, MEMORY, gap="memory-limit"),
    "pipes": Bomb("nofile", 16 * MIB, LIMITS.open_files * 65536),
    "/workspace": Bomb("/workspace", WORKSPACE.size_bytes + 8 * MIB, WORKSPACE.size_bytes),
    "/tmp": Bomb("/tmp", TMP.size_bytes + 8 * MIB, TMP.size_bytes),
    "/dev/shm": Bomb("/dev/shm", SHM.size_bytes + 8 * MIB, SHM.size_bytes),
    "inodes of /workspace": Bomb("/workspace", WORKSPACE.inodes + 500, WORKSPACE.inodes, gap="inode-limit"),
    "inodes of /tmp": Bomb("/tmp", TMP.inodes + 500, TMP.inodes, gap="inode-limit"),
    "inodes of /dev/shm": Bomb("/dev/shm", SHM.inodes + 500, SHM.inodes, gap="inode-limit"),
    "sparse": Bomb("fsize", 64 * MIB, WORKSPACE.size_bytes),
    "descriptors": Bomb("nofile", 200, LIMITS.open_files),
    "sockets": Bomb("nofile", 200, LIMITS.open_files),
    "ptys": Bomb("nofile", 4, 0),
    "cpu": Bomb("cpus", 400, int(100 * LIMITS.cpus * 1.3), gap="cpu-limit"),
}
_RLIMITS = {"nofile": "Max open files", "fsize": "Max file size"}


def limit_in_effect(ground: Ground, guard: str) -> bool:
    """Whether the limit is seen, by the kernel's word about the sandbox and not by what was asked for."""
    pid = _pid(ground)
    if guard.startswith("/"):
        place = next(place for place in hardening.writable(LIMITS) if place.target == guard)
        asked = (place.size_bytes, place.inodes)
        look = f"import os; s = os.statvfs({guard!r}); print(s.f_blocks * s.f_frsize, s.f_files)"
        size, inodes = map(int, ground.guest.run(look.encode(), 20.0).stdout.split())
        return (size, inodes) == asked or (ground.is_rootless and size == place.size_bytes)
    if guard in _RLIMITS:
        wanted = {"nofile": LIMITS.open_files, "fsize": LIMITS.disk_bytes}[guard]
        return _rlimit(pid, _RLIMITS[guard]) == wanted
    if ground.is_rootless:
        fallback = {"pids": ("Max processes", LIMITS.pids), "memory_bytes": ("Max data size", MEMORY)}
        return guard == "cpus" or _rlimit(pid, fallback[guard][0]) == fallback[guard][1]
    seen: LimitsSeen = ground.driver._limits_seen(ground.handle)  # type: ignore[attr-defined]
    return getattr(seen, guard) == getattr(LIMITS, guard)


def _rlimit(pid: int, name: str) -> int:
    """The hard limit; read as text, since prlimit(2) of another's process needs a capability that root may lack."""
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name))
    value = line[len(name) :].split()[1]
    return -1 if value == "unlimited" else int(value)


def _pid(ground: Ground) -> int:
    if ground.handle.pid is not None:
        return ground.handle.pid
    return int(ground.driver._pid(ground.handle))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("ground", FORMS, indirect=True)
def test_a_bomb_gets_no_more_than_its_limit_and_the_sandbox_goes_on(ground: Ground, name: str) -> None:
    bomb = BOMBS[name]
    assert limit_in_effect(ground, bomb.guard), "the limit is not there: the bomb was not started"
    verdicts = ground.verdicts("bomb", WHICH=name, CAP=bomb.cap, MOST=bomb.most)
    alive = ground.guest.run(b"print('alive')", 20.0)

    assert len(verdicts) == 1
    gap = {name} if ground.is_rootless and bomb.gap else set()
    # On a machine with much to do, four spinners may get less than the limit without any.
    assert set(leaked(verdicts)) == gap or (name == "cpu" and gap), verdicts
    assert alive.stdout == b"alive\n"
