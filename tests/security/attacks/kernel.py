"""Escape by the kernel: calls that make or change namespaces, mounts, keys, programs in the kernel; odd sockets."""

import ctypes
import mmap
import platform
import signal

from verdict import call, in_child, refused_call, verdict

CLONE_NEW = {"user": 0x10000000, "mount": 0x20000, "net": 0x40000000, "pid": 0x20000000, "cgroup": 0x2000000}
HIGH = 1 << 32

for name in (
    "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "statmount", "setns", "clone3", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp",
    "pidfd_getfd", "process_madvise", "memfd_secret", "add_key", "request_key", "keyctl", "io_uring_setup",
    "io_uring_register", "bpf", "userfaultfd", "perf_event_open", "fanotify_init", "name_to_handle_at",
    "open_by_handle_at", "init_module", "finit_module", "delete_module", "kexec_load", "reboot", "swapon",
    "sethostname", "settimeofday", "clock_settime", "adjtimex", "acct", "syslog", "quotactl", "vhangup", "iopl",
    "ioperm", "modify_ldt",
):  # fmt: skip
    refused_call(name)
for space, flag in CLONE_NEW.items():
    refused_call("unshare", flag, label=f"unshare {space}")
    refused_call("unshare", HIGH | flag, label=f"unshare {space}, high bits")
refused_call("clone", CLONE_NEW["user"] | signal.SIGCHLD, label="clone user")
refused_call("personality", 0x40000, label="personality")

FAMILIES = {"ax25": 3, "key": 15, "packet": 17, "rds": 21, "can": 29, "tipc": 30, "bluetooth": 31, "alg": 38,
            "vsock": 40, "xdp": 44}  # fmt: skip
for family, value in FAMILIES.items():
    refused_call("socket", value, 2, 0, label=f"socket {family}")
    refused_call("socket", HIGH | value, 2, 0, label=f"socket {family}, high bits")
for protocol, value in {"netfilter": 12, "xfrm": 6, "audit": 9}.items():
    refused_call("socket", 16, 3, value, label=f"netlink {protocol}")


def old_entry() -> int:
    """getpid by `int 0x80`, where another table of calls would be used."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    return int(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() <= 0)


seen = in_child(old_entry) if platform.machine() == "x86_64" else -signal.SIGSYS
verdict("32-bit entry", seen < 0, seen)


def call_x32() -> int:
    """getpid of the x32 table: bit 30 of the number."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(0x40000000 | 39) < 0)


seen = in_child(call_x32) if platform.machine() == "x86_64" else 1
verdict("x32 entry", seen != 0, seen)
verdict("the filter lets getpid", call("personality", 0xFFFFFFFF) == 0)
