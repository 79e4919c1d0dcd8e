"""What does the agent need from the kernel that the `os` module does not offer? (prctl, capabilities, SysV objects)"""

from __future__ import annotations

import ctypes
import os

MADV_POPULATE_WRITE = 23
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_VERSION_3 = 0x20080522
CAP_SETGID = 6
CAP_SETUID = 7
IPC_RMID = 0
SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl {option}: {os.strerror(errno)}")


def set_dumpable(is_dumpable: bool) -> None:
    """Whether other processes of this uid may read this one's memory and descriptors, and it its own /proc/self/fd."""
    _prctl(PR_SET_DUMPABLE, int(is_dumpable))


def become_subreaper() -> None:
    """Orphans of this process's descendants become its own children, as they do for PID 1."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """From here on no exec gives a right that this process does not have. Cannot be undone."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent: int) -> None:
    """Be killed when `parent`, which must be this process's parent and single-threaded, ends; at once if it has.

    Call it after the last change of uid, which clears it. A fork of this process does not have it, an exec keeps it.
    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    _prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + SIGKILL)


def leave(status: int) -> None:
    """exit(3): what C libraries registered and what C streams hold is seen to, the interpreter is left as it is."""
    _libc.exit(status)


def has_set_ids() -> bool:
    """Whether this process may change its uid and gid (CAP_SETUID and CAP_SETGID are effective)."""
    data = (_CapData * 2)()
    if _libc.capget(ctypes.byref(_CapHeader(CAP_VERSION_3, 0)), data) != 0:
        return False
    wanted = 1 << CAP_SETUID | 1 << CAP_SETGID
    return bool(data[0].effective & wanted == wanted)


def drop_capabilities() -> None:
    """Empty the ambient, effective, permitted and inheritable sets (bubblewrap as root leaves the last one filled)."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    if _libc.capset(ctypes.byref(_CapHeader(CAP_VERSION_3, 0)), (_CapData * 2)()) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"capset: {os.strerror(errno)}")


def keep_for_ever(thing: object) -> None:
    """Take a reference that is never given back, so that the interpreter's end does not take `thing` apart."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def fault_in(start: int, size_bytes: int) -> None:
    """Make pages of a fork its own now, rather than one by one when they are written (Linux 5.14, else nothing)."""
    _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size_bytes), MADV_POPULATE_WRITE)


def sysv_objects() -> list[tuple[str, int]]:
    """The SysV objects of this IPC namespace, as (`shm`, `sem` or `msg`; id)."""
    found = []
    for family in ("shm", "sem", "msg"):
        try:
            rows = _content(f"/proc/sysvipc/{family}").splitlines()[1:]
        except FileNotFoundError:
            continue
        found += [(family, int(row.split()[1])) for row in rows]
    return found


def _content(path: str) -> bytes:
    """Three of them at the end of each job: a file object would double the system calls."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, 4096), b""))
    finally:
        os.close(fd)


def remove_sysv(family: str, ident: int) -> None:
    """Remove one SysV object; the kernel refuses, silently here, what is another uid's."""
    if family == "shm":
        _libc.shmctl(ident, IPC_RMID, None)
    elif family == "sem":
        _libc.semctl(ident, 0, IPC_RMID)
    else:
        _libc.msgctl(ident, IPC_RMID, None)
