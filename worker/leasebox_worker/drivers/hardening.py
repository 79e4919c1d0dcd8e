"""How is a sandbox locked down? Every setting as data; drivers only translate it into their own words.

| group | source |
|-------|--------|
| users, capabilities, masks, mounts, ulimits, sysctls | ISOLATION.md 1.1, literal |
| how tmpfs sizes follow from limits | CONTRACT.md section 2 (`tmp_bytes`: a quarter is /dev/shm) |
"""

from dataclasses import dataclass

from leasebox_worker.drivers.base import Limits, SandboxRequest

GUEST_UID = 10001
"""Jobs run as this uid inside a container; R2 and `process` use one of the pool instead."""

POOL_UID_BASE = 200_000
POOL_UIDS = 10_000

AGENT_CAPABILITIES = ("SETUID", "SETGID", "KILL")
AGENT_CAPABILITY_MASK = (1 << 7) | (1 << 6) | (1 << 5)

HOSTNAME = "sandbox"
WORKSPACE = "/workspace"
AGENT_MOUNT = "/agent"
EGRESS_MOUNT = "/run/egress"

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
"""All that PID 1 gets. A job can read it, so nothing secret ever stands here."""

CPU_PERIOD_US = 100_000
_SHARES_OF_A_CPU = 256
SHARES_OF_ALL = 256
"""The weight of all bubblewrap sandboxes of a host together; a service or a terminal beside them has 1024.

Where processors are short, programs wait, not the Redis and the worker that serve them: `leasebox batch run` hands
10,000 jobs in within 1.5 s beside busy sandboxes, 1.9 to 2.1 with an equal weight (two cores, in turns).
"""
OOM_SCORE = 500
"""The agent raises each job to 1000, so that the kernel takes the job and spares the agent."""

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/interrupts",
    "/proc/config.gz",
    "/proc/cmdline",
    "/proc/kallsyms",
    "/proc/kmsg",
    "/proc/key-users",
    "/proc/vmallocinfo",
    "/proc/slabinfo",
    "/proc/modules",
    "/proc/partitions",
    "/proc/diskstats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/devices/virtual/dmi",
    "/sys/class/dmi",
    "/sys/block",
    "/sys/module",
    "/sys/kernel",
    "/sys/fs/bpf",
    # One sandbox opened 1280 ptys without this; the host's total is kernel.pty.max = 4096.
    "/dev/pts/ptmx",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


WORKSPACE_MODE = 0o700
WORKSPACE_MODE_ENTERED = 0o711
"""Where the agent has to enter it by itself: uid 0 without capabilities is "other" there."""


@dataclass(frozen=True)
class Tmpfs:
    """One writable place of a sandbox; it counts as memory, so the sum stays below half of the memory limit."""

    target: str
    size_bytes: int
    inodes: int
    mode: int
    executable: bool
    of_job: bool

    def options(self, uid: int) -> str:
        """Mount data for mount(2) and for the engine, without the flags."""
        owner = f",uid={uid},gid={uid}" if self.of_job else ""
        return f"size={self.size_bytes},nr_inodes={self.inodes},mode={self.mode:04o}{owner}"


def cpu_shares(limits: Limits) -> int:
    """The sandbox's weight where processors are short; in step with `cpus`, 512 for two.

    A quota alone lets a sandbox of many processes take its time on all processors at once, at the start of each period:
    beside an equal weight that costs a neighbour a quarter of that time, and less beside a smaller one.
    """
    return max(2, int(_SHARES_OF_A_CPU * limits.cpus))


def shm_bytes(limits: Limits) -> int:
    """Size of /dev/shm, which also bounds SysV shared memory."""
    return limits.tmp_bytes // 4


def writable(limits: Limits) -> tuple[Tmpfs, Tmpfs, Tmpfs]:
    """/workspace, /tmp and /dev/shm; nothing else in a sandbox can be written by a job."""
    shm = shm_bytes(limits)
    return (
        Tmpfs(
            WORKSPACE,
            limits.disk_bytes,
            max(8192, limits.disk_bytes // 8192),
            WORKSPACE_MODE,
            executable=True,
            of_job=True,
        ),
        Tmpfs("/tmp", limits.tmp_bytes - shm, 4096, 0o1777, executable=False, of_job=False),
        Tmpfs("/dev/shm", shm, 1024, 0o1777, executable=False, of_job=False),
    )


def ulimits(limits: Limits) -> dict[str, int]:
    """Soft = hard limit by name. No nproc: it counts a uid over all containers (drivers with own uids add it)."""
    return {
        "nofile": limits.open_files,
        "fsize": limits.disk_bytes,
        "core": 0,
        "memlock": 65536,
        "msgqueue": 0,
        "nice": 0,
        "rtprio": 0,
    }


def sysctls(limits: Limits) -> dict[str, str]:
    """Bounds of SysV and POSIX IPC in the sandbox's own IPC namespace."""
    return {
        "kernel.shmmax": str(shm_bytes(limits)),
        "kernel.shmall": str(shm_bytes(limits) // 4096),
        "kernel.msgmni": "16",
        "fs.mqueue.queues_max": "0",
    }


def agent_arguments(request: SandboxRequest, *, job_uid: int, at_eof: str) -> list[str]:
    """Arguments of boot.py; `at_eof` is `detach` where a host can attach again, else `exit`."""
    arguments = {
        "--job-uid": str(job_uid),
        "--job-gid": str(job_uid),
        "--dead-man": f"{request.dead_man_s:g}",
        "--exit-after": f"{request.agent_exit_after_s:g}",
        "--eof": at_eof,
        "--preload": ",".join(request.preload),
        "--egress": f"{EGRESS_MOUNT}/p.sock" if request.egress_dir else "",
    }
    return [word for pair in arguments.items() if pair[1] for word in pair]
