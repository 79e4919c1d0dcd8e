"""How does a Python process outlive the jobs of its session? It is forked once, fed cell by cell, frozen in between.

The agent knows it by its pid and by a socket that takes cells; each cell brings a result channel of its own. That it
is gone is never silent: `lost` has the reason until a later cell has said it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import json
import os
import struct

from leasebox_guest.job import Rights
from leasebox_guest.loop import WRITABLE, Loop
from leasebox_guest.parity import as_fresh_python
from leasebox_guest.settings import Settings
from leasebox_guest.spec import Spec
from leasebox_guest.sweep import Processes

TYPE_CHECKING = False  # the real one would load `typing`, at 3 ms of each sandbox's start
if TYPE_CHECKING:
    from typing import NoReturn

BEGIN_WITHIN_S = 2.0
"""One that does not even read its cell runs something else: an end was forged while a cell went on."""
FIRST_WITHIN_S = 10.0
"""A new one has to start before it reads."""
ZOMBIES_KEPT = 16
_BROKEN = 70
_CONTROL_FD = 3
_LENGTHS = struct.Struct(">II")


class Interpreter:
    """The kept interpreter of a sandbox, if there is one.

    Attributes:
        pid: 0 = there is none.
        lost: Why the last one is gone; None once a cell has said so, or if there was none.
        is_new: It has not begun a cell yet.
    """

    def __init__(self, loop: Loop, processes: Processes, rights: Rights, settings: Settings) -> None:
        self.pid = 0
        self.lost: str | None = None
        self.is_new = True
        self._loop = loop
        self._processes = processes
        self._rights = rights
        self._settings = settings
        self._socket: _socket.socket | None = None
        self._unsent = b""

    def spawn(self, spec: Spec) -> None:
        """Fork a new one, with the environment of its first cell.

        Raises:
            OSError: It cannot be forked.
        """
        ours, theirs = _socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            self._loop.close()
            _become(spec, theirs.fileno(), self._rights)
        theirs.close()
        ours.setblocking(False)
        self.pid, self._socket, self.is_new = pid, ours, True

    def give(self, cell: str, spec: Spec, code: bytes, pipes: tuple[int, ...]) -> None:
        """Hand a cell over, with its stdin, stdout, stderr and result channel; what does not fit now follows."""
        assert self._socket is not None
        request = {
            "cell": cell,
            "env": spec.env,
            "cwd": None if spec.cwd == self._settings.workspace else spec.cwd,
            "reap": len(self._processes.pids()) > ZOMBIES_KEPT,
        }
        header = json.dumps(request).encode()
        data = _LENGTHS.pack(len(header), len(code)) + header + code
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("4i", *pipes))]
        try:
            sent = self._socket.sendmsg([data], rights)
        except OSError:
            return  # dead, or it did not read the last one: the cell never begins
        self._unsent = data[sent:]
        self._go_on()

    def interrupt(self) -> None:
        """Ask for the end of the cell."""
        try:
            os.kill(self.pid, _signal.SIGINT)
        except ProcessLookupError:
            return

    def memory_peak_bytes(self) -> int:
        """The most that it ever had; 0 if it is gone."""
        try:
            with open(f"/proc/{self.pid}/status", "rb") as file:  # noqa: PTH123
                peak = next(line for line in file if line.startswith(b"VmHWM"))
        except (OSError, StopIteration):
            return 0
        return int(peak.split()[1]) << 10

    def begun(self) -> str | None:
        """It runs a cell now; the reason for which that does not find the state of those before it, if so."""
        self.is_new = False
        reason, self.lost = self.lost, None
        return reason

    def gone(self, reason: str | None) -> None:
        """It is dead; `reason` is told by the next cell, None if that was asked for."""
        self._unsent = b""
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        self._socket = None
        self.pid = 0
        self.lost = reason

    def _go_on(self) -> None:
        """Send what is left of a long cell, as the interpreter reads it."""
        assert self._socket is not None
        fd = self._socket.fileno()
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            self._loop.watch(fd, self._go_on, WRITABLE)
            return
        except OSError:
            self._unsent = b""
        self._loop.unwatch(fd)


def _become(spec: Spec, control: int, rights: Rights) -> NoReturn:
    """In the forked child: be the interpreter."""
    try:
        os.setsid()
        _signal.set_wakeup_fd(-1)
        _take_descriptors(control)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        start_env = dict(os.environ)
        rights.become()
        os.umask(0o022)
        os.environ.clear()
        os.environ.update(spec.env)
        from leasebox_guest import repl  # as the job's uid, and not in PID 1

        as_fresh_python(spec, start_env)
        repl.live()
    except BaseException:  # noqa: BLE001 (the child must never run on as the agent)
        import traceback

        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        os._exit(_BROKEN)


def _take_descriptors(control: int) -> None:
    """Nothing of the agent but the socket; the standard streams come with each cell."""
    os.dup2(control, _CONTROL_FD, inheritable=False)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.closerange(_CONTROL_FD + 1, os.sysconf("SC_OPEN_MAX"))
