"""When does our own standard input become the program's, and how? As it comes: typed, piped, or from a file."""

import os
import select
import stat
import threading
import time
from enum import Enum

from leasebox._input import CHUNK_BYTES
from leasebox.cli.show import say
from leasebox.client import JobHandle
from leasebox.contract.errors import LeaseboxError, UnknownJob, WrongState

STDIN = 0
_LOOK_S = 0.5


class Source(Enum):
    """What our standard input is."""

    TERMINAL = "terminal"
    STREAM = "stream"
    """A pipe or a file."""
    NOTHING = "nothing"
    """Closed, a device such as /dev/null, or a socket, whose other words may be meant for whoever started us."""


def source(fd: int = STDIN) -> Source:
    """Look at our standard input."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return Source.NOTHING
    if os.isatty(fd):
        return Source.TERMINAL
    return Source.STREAM if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) else Source.NOTHING


def pass_on(handle: JobHandle, fd: int = STDIN) -> None:
    """Write to the job what comes, until it ends here or there; beside whatever this process does, and no longer."""
    threading.Thread(target=_pass_on, args=(handle, fd), daemon=True).start()


def _pass_on(handle: JobHandle, fd: int) -> None:
    try:
        while data := _read(fd):
            handle.write_stdin(data)
        handle.close_stdin()
    except (WrongState, UnknownJob):
        return  # it has ended: its reader says how
    except LeaseboxError as exc:
        say(f"leasebox: standard input is not passed on any more: {exc}")


def _read(fd: int) -> bytes:
    """Some bytes; empty at the end, which on a terminal is Ctrl-D."""
    # Not through sys.stdin: a thread that holds its lock while the process ends would be a fatal error.
    try:
        if os.isatty(fd):
            _wait_until_typed(fd)
        return os.read(fd, CHUNK_BYTES)
    except OSError:
        return b""


def _wait_until_typed(fd: int) -> None:
    """Wait for a line that is ours: a process in the background that reads its terminal is stopped by the kernel."""
    while not (select.select([fd], [], [], _LOOK_S)[0] and _is_in_front(fd)):
        time.sleep(0 if _is_in_front(fd) else _LOOK_S)


def _is_in_front(fd: int) -> bool:
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True  # not the terminal that controls us
