"""How is a process kept to a few folders and to itself where namespaces are forbidden? Three system calls by ctypes.

Source: kernel documentation, userspace-api/landlock.rst. ABI 1 files, 2 refer, 3 truncate, 4 TCP, 5 device ioctl,
6 abstract sockets and signals.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from leasebox.contract.errors import StartFailed

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_BITS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
_BITS_NEWEST = 16
_ALL_TCP = 0b11
_ALL_SCOPES = 0b11
ABI_TCP = 4
ABI_SCOPES = 6

READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The kernel's version of Landlock; 0 where there is none or it is switched off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def ruleset(readable: Iterable[Path], updatable: Iterable[Path], writable: Iterable[Path]) -> int:
    """A descriptor for `restrict`: these trees and files and nothing else, no TCP, no signal or socket to outsiders.

    Args:
        readable: Read and execute. Paths that do not exist are left out, here and below.
        updatable: Also write to files that exist.
        writable: Everything.

    Raises:
        StartFailed: The kernel has no Landlock, or refused.
    """
    version = abi()
    files = (1 << _BITS_BY_ABI.get(version, _BITS_NEWEST)) - 1
    fields = [files, *([_ALL_TCP] if version >= ABI_TCP else []), *([_ALL_SCOPES] if version >= ABI_SCOPES else [])]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    descriptor = int(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    if version == 0 or descriptor < 0:
        raise StartFailed(f"no Landlock here: {os.strerror(ctypes.get_errno())}")
    for path in readable:
        _allow(descriptor, path, READ & files)
    for path in updatable:
        _allow(descriptor, path, (READ | _WRITE_FILE) & files)
    for path in writable:
        _allow(descriptor, path, files)
    return descriptor


def restrict(descriptor: int) -> None:
    """Lock this process and its children for ever; needs no-new-privileges. Makes one system call."""
    if _libc.syscall(_RESTRICT_SELF, descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")


def _allow(descriptor: int, path: Path, access: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = struct.pack("=Qi", access if path.is_dir() else access & _OF_FILES, parent)
        if _libc.syscall(_ADD_RULE, descriptor, _PATH_BENEATH, rule, 0) != 0:
            raise StartFailed(f"Landlock refused {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(parent)
