"""What locks a plain process down, in the order that the kernel needs: no-new-privileges, Landlock, seccomp.

Everything that allocates or can fail for a foreseeable reason is done before the fork.
"""

import ctypes
import os
from collections.abc import Callable

from leasebox_worker.drivers import landlock

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def locked_down(ruleset: int, program: bytes) -> Callable[[], None]:
    """What a child runs just before its exec; three system calls, all checked.

    Args:
        ruleset: Of `landlock.ruleset`; stays open until the child execed.
        program: cBPF of `seccomp.program`.
    """
    compiled = _Program(len(program) // _INSTRUCTION_BYTES, program)
    pointer = ctypes.byref(compiled)

    def _lock() -> None:
        _must(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        landlock.restrict(ruleset)
        _must(_libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0))

    return _lock


def _must(answer: int) -> None:
    if answer != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
