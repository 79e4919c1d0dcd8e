"""Host-side tmpfs for bubblewrap: its own `--tmpfs` knows a size but no number of inodes."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from leasebox.contract.errors import StartFailed
from leasebox_worker.drivers.hardening import Tmpfs

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REC, _MS_SLAVE = 1 << 14, 1 << 19
_CLONE_NEWNS = 0x20000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_EINVAL, _ENOENT = 22, 2

_libc = ctypes.CDLL(None, use_errno=True)


def leave_the_hosts_table() -> None:
    """Give the calling thread a mount table of its own, which follows the host's and adds nothing to it; needs root.

    Each `bwrap` copies the table that it finds, and reads all of it for each mount that it makes.

    Raises:
        StartFailed: The kernel refused.
    """
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise StartFailed(f"no mount table: {os.strerror(ctypes.get_errno())}")
    if _libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None) != 0:
        raise StartFailed(f"the mount table is the host's: {os.strerror(ctypes.get_errno())}")


def mount(tmpfs: Tmpfs, target: Path, job_uid: int) -> None:
    """Mount an empty tmpfs with the size, inodes and mode asked for; needs root.

    Raises:
        StartFailed: The kernel refused.
    """
    target.mkdir(mode=0o700)
    flags = _MS_NOSUID | _MS_NODEV | (0 if tmpfs.executable else _MS_NOEXEC)
    data = tmpfs.options(job_uid).encode()
    if _libc.mount(b"leasebox", os.fsencode(target), b"tmpfs", ctypes.c_ulong(flags), data) != 0:
        raise StartFailed(f"tmpfs at {target}: {os.strerror(ctypes.get_errno())}")


def unmount(targets: Iterable[Path]) -> None:
    """Unmount all now, free the memory once nobody has a file of it open; a target that is no mount is fine.

    Raises:
        OSError: The kernel refused one, the first of those that it did; all others are unmounted.
    """
    refusals = [refusal for target in targets if (refusal := _unmount(target))]
    if refusals:
        raise refusals[0]


def _unmount(target: Path) -> OSError | None:
    """Why the kernel refused, if it did."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        return None
    errno = ctypes.get_errno()
    return None if errno in (_EINVAL, _ENOENT) else OSError(errno, os.strerror(errno), str(target))
