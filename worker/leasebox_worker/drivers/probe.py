"""What does a job see from inside its sandbox? A program that runs as a job and prints one JSON document.

It is sent to the guest as source text, so it imports nothing of ours, and it is the only probe: the start-up self-check
(`verify.py`) and the conformance suite read the same document.
"""

# It runs inside: its environment is what it looks at, and pathlib would cost each probe 10 ms.
# ruff: noqa: TID251, PTH108, PTH112, PTH115, PTH116, PTH118, PTH123, PTH208

import ctypes
import json
import mmap
import os
import platform
import resource
import signal
import socket
from collections.abc import Callable

_NUMBERS = {
    # name: (x86_64, aarch64)
    "socket": (41, 198),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "memfd_secret": (447, 447),
    "name_to_handle_at": (303, 264),
    "clone3": (435, 435),
    "process_vm_readv": (310, 270),
}
_COLUMN = {"x86_64": 0, "aarch64": 1}

MASK_CANDIDATES = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/interrupts",
    "/proc/cmdline",
    "/proc/kallsyms",
    "/proc/modules",
    "/proc/vmallocinfo",
    "/proc/partitions",
    "/proc/diskstats",
    "/sys/firmware",
    "/sys/kernel",
    "/sys/module",
    "/dev/pts/ptmx",
)


def call(name: str, *arguments: int) -> int:
    """The errno of a system call, 0 where it worked; -1 on a machine without a number for it."""
    column = _COLUMN.get(platform.machine())
    if column is None:
        return -1
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(_NUMBERS[name][column]), *(ctypes.c_ulong(argument) for argument in arguments))
    return ctypes.get_errno() if answer < 0 else 0


def in_child(action: Callable[[], int]) -> int:
    """What a throw-away child makes of `action`: its answer, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(action() & 0xFF)
        except BaseException:  # noqa: BLE001 (whatever it is: the child must not go on as the probe)
            os._exit(254)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def old_entry() -> int:
    """getpid by `int 0x80`, the i386 entry; a child that lives to answer got past the filter."""
    if platform.machine() != "x86_64":
        return -int(signal.SIGSYS)
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return in_child(lambda: int(ctypes.CFUNCTYPE(ctypes.c_long)(address)() <= 0))


def calls() -> dict[str, int]:
    """errno by probe; a sandbox must refuse each, unless `_expected_errno` in verify.py says otherwise."""
    zeros = (0, 0, 0, 0, 0)
    found = {
        "socket_inet": call("socket", 2, 1, 0),
        "socket_vsock": call("socket", 40, 1, 0),
        "socket_alg": call("socket", 38, 5, 0),
        "socket_alg_high_bits": call("socket", 2**32 + 38, 5, 0),
        "socket_vsock_high_bits": call("socket", 2**32 + 40, 1, 0),
        "socket_packet": call("socket", 17, 3, 0),
        "socket_netlink_route": call("socket", 16, 3, 0),
        "socket_netlink_netfilter": call("socket", 16, 3, 12),
        "ptrace": in_child(lambda: call("ptrace", *zeros)),
        "unshare_user": in_child(lambda: call("unshare", 0x10000000)),
        "io_uring_setup": call("io_uring_setup", 1, 0),
    }
    for name in ("setns", "mount", "chroot", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "open_tree"):
        found[name] = call(name, *zeros)
    for name in ("fsopen", "memfd_secret", "name_to_handle_at", "clone3"):
        found[name] = call(name, *zeros)
    return found


def status(path: str) -> dict[str, str]:
    """The fields of a /proc status file that tell how far a process is locked down."""
    wanted = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    with open(path) as file:
        pairs = (line.partition(":") for line in file)
        return {name: " ".join(value.split()) for name, _, value in pairs if name in wanted}


def mounts() -> dict[str, list[str]]:
    """Mount point to its options; the last mount on a point wins (proc(5), mountinfo)."""
    found = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            found[fields[4]] = sorted(set(fields[5].split(",") + fields[-1].split(",")))
    return found


def disk(path: str) -> dict[str, int]:
    """Size and inodes of the file system at `path`; zeros where it cannot be asked."""
    try:
        seen = os.statvfs(path)
    except OSError:
        return {"bytes": 0, "inodes": 0, "mode": 0}
    return {"bytes": seen.f_blocks * seen.f_frsize, "inodes": seen.f_files, "mode": os.stat(path).st_mode & 0o7777}


def is_hidden(path: str) -> bool:
    """Whether a path is absent, empty, /dev/null, or closed to the job."""
    try:
        if os.path.isdir(path):
            return not os.listdir(path)
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        return not os.read(number, 1)
    except OSError:
        return True
    finally:
        os.close(number)


def can_write(path: str) -> bool:
    """Whether a new file can be made in a folder."""
    name = os.path.join(path, ".leasebox-probe")
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return False
    os.unlink(name)
    return True


def reaches_network() -> bool:
    """Whether the kernel has a way to a public address; connecting a datagram socket sends nothing."""
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
            return True
        except OSError:
            continue
    return False


def interfaces() -> list[str]:
    """Names of the network interfaces; asking needs a socket, so none where there are none."""
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


def number_in(*paths: str) -> int | None:
    """The number in the first of `paths` that can be read and holds one."""
    for path in paths:
        try:
            with open(path) as file:
                return int(file.read())
        except (OSError, ValueError):
            continue
    return None


def text_of(path: str) -> str | None:
    """The one line of a file of the kernel; None where it cannot be read."""
    try:
        with open(path) as file:
            return file.read().strip("\0\n ")
    except OSError:
        return None


def sysctls() -> dict[str, str | None]:
    """Bounds of the IPC namespace, by name."""
    names = ("kernel.shmmax", "kernel.shmall", "kernel.msgmni", "fs.mqueue.queues_max")
    return {name: text_of("/proc/sys/" + name.replace(".", "/")) for name in names}


def namespaces() -> dict[str, str]:
    """The kernel's name of each namespace that a sandbox has of its own."""
    found = {}
    for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts"):
        try:
            found[name] = os.readlink(f"/proc/self/ns/{name}")
        except OSError:  # a kernel in user space may show none
            continue
    return found


def cgroup() -> dict[str, int | None]:
    """Limits as the sandbox itself can read them; None where /sys/fs/cgroup is not shown."""
    v1 = "/sys/fs/cgroup/"
    return {
        "memory_bytes": number_in(v1 + "memory/memory.limit_in_bytes", v1 + "memory.max"),
        "memory_swap_bytes": number_in(v1 + "memory/memory.memsw.limit_in_bytes"),
        "pids": number_in(v1 + "pids/pids.max", v1 + "pids.max"),
        "cpu_quota_us": number_in(v1 + "cpu/cpu.cfs_quota_us"),
    }


def document() -> dict[str, object]:
    """All that `verify.py` compares."""
    folders = ("/", "/etc", "/usr", "/var/tmp", "/dev", "/agent", "/proc/sys/kernel")
    names = ("NOFILE", "FSIZE", "CORE", "MEMLOCK", "MSGQUEUE", "NPROC")
    return {
        "uid": os.getuid(),
        "pid": os.getpid(),
        "machine": platform.machine(),
        "hostname": socket.gethostname(),
        "job": status("/proc/self/status"),
        "agent": status(f"/proc/{os.getppid()}/status"),
        "calls": calls(),
        "old_entry": old_entry(),
        "oom_scores": [number_in(f"/proc/{pid}/oom_score_adj") for pid in (os.getppid(), os.getpid())],
        "sysctls": sysctls(),
        "namespaces": namespaces(),
        "confinement": text_of("/proc/self/attr/apparmor/current") or text_of("/proc/self/attr/current"),
        "mounts": mounts(),
        "disks": {path: disk(path) for path in ("/workspace", "/tmp", "/dev/shm")},
        "writable": [folder for folder in folders if can_write(folder)],
        "shown": [path for path in MASK_CANDIDATES if not is_hidden(path)],
        "rlimits": {name.lower(): resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1] for name in names},
        "network": reaches_network(),
        "interfaces": interfaces(),
        "cgroup": cgroup(),
        "environment": sorted(os.environ),
    }


if __name__ == "__main__":
    print(json.dumps(document()))  # noqa: T201 (it is the program's answer)
