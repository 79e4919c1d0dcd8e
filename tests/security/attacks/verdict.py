"""How does an attack say what came of it? One JSON line for each verdict; sent along with every attack program."""

import ctypes
import errno
import json
import os
import platform
import signal
import sys
from collections.abc import Callable

REFUSED = (errno.EPERM, errno.ENOSYS, errno.EACCES)
"""What a filter or a missing right answers. EFAULT, EINVAL or EBADF come from behind it: the call was let through."""

_CALLS = {
    # name: (x86_64, aarch64); -1: that machine has no such call
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "statmount": (457, 457),
    "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "memfd_secret": (447, 447),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "io_uring_setup": (425, 425), "io_uring_register": (427, 427), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "fanotify_init": (300, 262), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "reboot": (169, 142), "swapon": (167, 224),
    "sethostname": (170, 161), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "acct": (163, 89), "syslog": (103, 116), "quotactl": (179, 60), "vhangup": (153, 58),
    "iopl": (172, -1), "ioperm": (173, -1), "modify_ldt": (154, -1), "socket": (41, 198), "personality": (135, 92),
}  # fmt: skip


def verdict(name: str, held: bool, seen: object = None) -> None:
    """Say whether a protection held, and what was seen."""
    print(json.dumps({"name": name, "held": bool(held), "seen": str(seen)[:200]}), flush=True)


def number(name: str, count: float, most: float) -> None:
    """A verdict about a limit: it held if `count` is not above `most`."""
    verdict(name, count <= most, count)


def refused(name: str, action: Callable[[], object]) -> None:
    """It held if `action` is answered with an error of the system."""
    try:
        seen = action()
    except OSError as exc:
        verdict(name, True, errno.errorcode.get(exc.errno or 0, exc))
    else:
        verdict(name, False, seen)


def call(name: str, *arguments: int) -> int:
    """The errno of a system call, 0 where it worked, ENOSYS on a machine that has none."""
    which = {"x86_64": 0, "aarch64": 1}[platform.machine()]
    if _CALLS[name][which] < 0:
        return errno.ENOSYS
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    padded = [*arguments, *([0] * (6 - len(arguments)))]
    answer = libc.syscall(ctypes.c_long(_CALLS[name][which]), *(ctypes.c_ulong(value) for value in padded))
    return ctypes.get_errno() if answer < 0 else 0


def in_child(action: Callable[[], int], within_s: int = 5) -> int:
    """What a child makes of `action`: its answer, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(within_s)
        try:
            os._exit(action() & 0xFF)
        except BaseException:
            os._exit(254)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refused_call(name: str, *arguments: int, label: str | None = None) -> None:
    """It held if a child that makes the call is refused it, or is killed for it."""
    seen = in_child(lambda: call(name, *arguments))
    verdict(label or name, seen in REFUSED or seen == -signal.SIGSYS, seen)


sys.modules["verdict"] = sys.modules[__name__]
