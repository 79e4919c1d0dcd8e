"""What runs in the kept interpreter: it takes a cell from the agent, runs it, and tells how it ended.

A cell comes over a socket with its own stdin, stdout, stderr and result channel, so that what an earlier cell left
running cannot write into it by number alone. What is printed never reaches the result channel.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import _thread
import builtins
import json
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

from leasebox_guest import apart, bundle, figures, frames, magics, shell, tracebacks, variables
from leasebox_guest.cellcode import CellCode
from leasebox_guest.frames import Kind
from leasebox_guest.notebook import Finder

CONTROL_FD = 3
PROMPT_LIMIT = 4096
_BROKEN = 70
_PORTION_BYTES = 65536
_FDS = 4
_LENGTHS = struct.Struct(">II")


class RestartRequest(BaseException):
    """`%restart`: the interpreter is to end after this cell."""


class Repl:
    """The cells of one interpreter, in one namespace."""

    def __init__(self, control: int) -> None:
        self._control = _socket.socket(fileno=control)
        self._results = -1
        self._pid = os.getpid()
        self._main_thread = _thread.get_ident()
        self._lock = _thread.allocate_lock()
        self._is_running = False
        self._is_sending = False
        self._is_interrupted = False
        self._meter = frames.DisplayMeter()
        self._apart = frames.DisplayMeter(is_apart=True)
        self._given_env: dict[str, str] = {}
        self._stdin: Any = None
        self._cells = 0
        self._code = CellCode(vars(sys.modules["__main__"]))
        self._furnish()

    def _furnish(self) -> None:
        """What cells find beyond plain Python."""
        called = ModuleType(magics.MODULE)
        vars(called).update(
            run_shell=shell.run_shell, run_pip=shell.run_pip, no_magic=shell.no_magic, restart=_restart,
            variables=lambda: self._send_bundle({"application/json": variables.summary(self._code.namespace)}),
        )  # fmt: skip
        sys.modules[magics.MODULE] = called
        sys.meta_path.insert(0, Finder(self.display))
        figures.choose_backend()
        vars(builtins).update(display=self.display, input=self.input, exit=_leave, quit=_leave)
        sys.argv[:] = [""]
        sys.path.insert(0, "")

    def serve(self) -> NoReturn:
        """Run cells until the agent is gone."""
        while True:
            request, code = self._receive()
            self._adopt(request)
            ending = self._run(code, request["cwd"])
            if os.getpid() != self._pid:  # a child that the cell forked has come back from it: it is no interpreter
                _flush()
                os._exit(ending["status"] & 0xFF)  # type: ignore[operator]
            _flush()
            self._send_frame(Kind.EXITED, json.dumps({"cell": request["cell"], **ending}).encode())
            os.close(self._results)

    # The channel

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        """The next cell: its request and its source; its descriptors take the places of the last one's."""
        fds_size = _socket.CMSG_LEN(_FDS * 4)
        first, ancillary, _, _ = self._control.recvmsg(_PORTION_BYTES, fds_size, _socket.MSG_CMSG_CLOEXEC)
        if not first:
            os._exit(0)
        fds = [_above_streams(fd) for fd in struct.unpack(f"{_FDS}i", ancillary[0][2])]
        for target in range(3):
            os.dup2(fds[target], target)
            os.close(fds[target])
        self._results = fds[3]
        data = bytearray(first)
        while len(data) < _LENGTHS.size or len(data) < _LENGTHS.size + sum(_LENGTHS.unpack_from(data)):
            if not (more := self._control.recv(_PORTION_BYTES)):
                os._exit(0)
            data += more
        length, _ = _LENGTHS.unpack_from(data)
        start = _LENGTHS.size + length
        return json.loads(bytes(data[_LENGTHS.size : start])), bytes(data[start:])

    def _adopt(self, request: dict[str, Any]) -> None:
        """Make the process ready for a cell, whatever the last one did to it."""
        _signal.signal(_signal.SIGINT, self._on_interrupt)
        if request["reap"]:
            _reap()
        given = request["env"]
        os.environ.update({name: text for name, text in given.items() if self._given_env.get(name) != text})
        self._given_env = given
        self._meter = frames.DisplayMeter()
        self._apart = frames.DisplayMeter(is_apart=True)
        self._cells += 1
        self._open_streams()
        self._is_interrupted = False  # one that was meant for the last cell
        self._send_frame(Kind.STARTED, request["cell"].encode())

    def _open_streams(self) -> None:
        """A new stdin, since the old one may hold what the last cell did not read; the others only if closed."""
        first = sys.__stdin__
        if sys.stdin in (None, self._stdin, first) or sys.stdin.closed:
            encoding, errors = (first.encoding, first.errors) if first else ("utf-8", "surrogateescape")
            self._stdin = sys.stdin = open(0, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
        for fd, name, errors in ((1, "stdout", "surrogateescape"), (2, "stderr", "backslashreplace")):
            stream = getattr(sys, name)
            if stream is None or stream.closed:
                opened = open(fd, "w", encoding="utf-8", errors=errors, buffering=1, closefd=False)  # noqa: SIM115
                setattr(sys, name, opened)

    def _send_frame(self, kind: int, payload: bytes) -> None:
        """Write one frame. Whoever cannot tell the agent anything any more is of no use to it."""
        data = memoryview(frames.pack(kind, payload))
        try:
            while data:
                data = data[os.write(self._results, data) :]
        except OSError:
            os._exit(_BROKEN)

    # A cell

    def _run(self, code: bytes, folder: str | None) -> dict[str, object]:
        """Run a cell; what is to be told of its end."""
        name = f"<cell {self._cells}>"
        failure: BaseException | None = None
        try:
            try:
                self._is_running = True
                if self._is_interrupted:  # since it was told that the cell has begun
                    raise KeyboardInterrupt
                if folder is not None:
                    os.chdir(folder)
                source = code.decode(errors="surrogateescape")
                tracebacks.remember_source(name, source)
                value = self._code.run(self._code.compile(source, name))
                if value is not None:
                    self.display(value)
                figures.show_all(self.display)
            finally:
                self._is_running = False
        except BaseException as exc:  # noqa: BLE001 (a cell may raise anything)
            self._is_running = False  # an interrupt may have come at the first step of `finally`
            failure = exc
        return _ending(failure)

    def _on_interrupt(self, _number: int, _frame: object) -> None:
        if self._is_running and not self._is_sending:
            raise KeyboardInterrupt
        self._is_interrupted = True  # later: half a frame would end the interpreter

    # What a cell may call

    def display(self, *values: object, raw: bool = False, **_options: object) -> None:
        """Show values; in a forked child nothing happens."""
        for value in values:
            if raw and isinstance(value, dict):
                self._send_bundle(bundle.parts_of(value))
            else:
                self._send_bundle(figures.picture_of(value) or bundle.bundle_of(value))

    def input(self, prompt: object = "", /) -> str:
        """Ask for a line of standard input.

        Raises:
            EOFError: There is none.
        """
        _flush()
        told = json.dumps({"prompt": str(prompt)[:PROMPT_LIMIT]}).encode()
        self._tell(Kind.INPUT, lambda: apart.Divided(told, []))
        line = sys.stdin.readline()
        if not line:
            raise EOFError("there is no more standard input")
        return line.removesuffix("\n")

    def _send_bundle(self, shown: dict[str, object]) -> None:
        parts = bundle.encoded(shown)  # here, since code of the cell's own may run in it
        _flush()
        self._tell(Kind.DISPLAY, lambda: apart.divide(parts, self._meter, self._apart))

    def _tell(self, kind: int, divided: Callable[[], apart.Divided]) -> None:
        """Send frames in one piece, and count them; beyond the cell's bound they are dropped."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            is_main = _thread.get_ident() == self._main_thread
            self._is_sending = is_main
            told = divided()
            if self._meter.has_room(len(told.json)):
                self._meter.add(len(told.json))
                for payload in [told.json] if kind is Kind.INPUT else told.payloads():
                    self._send_frame(kind, payload)
            if is_main:
                self._is_sending = False
        if is_main and self._is_interrupted:
            self._is_interrupted = False
            raise KeyboardInterrupt


def _ending(failure: BaseException | None) -> dict[str, object]:
    if failure is None or isinstance(failure, RestartRequest):
        return {"status": 0, "error": None, "restart": failure is not None}
    if isinstance(failure, SystemExit):
        return _exit_ending(failure.code)
    return {"status": 1, "error": tracebacks.explain(failure), "restart": False}


def _exit_ending(code: object) -> dict[str, object]:
    """`sys.exit` ends the cell, not the interpreter."""
    if code is None or (isinstance(code, int) and code & 0xFF == 0):
        return {"status": 0, "error": None, "restart": False}
    text = tracebacks.text_of(code)
    if not isinstance(code, int):
        os.write(2, (text + "\n").encode(errors="backslashreplace"))
    status = code & 0xFF if isinstance(code, int) else 1
    return {"status": status, "error": {"name": "SystemExit", "message": text, "traceback": ""}, "restart": False}


def _leave(code: object = None) -> NoReturn:
    """`exit` and `quit`: site's own would close standard input."""
    raise SystemExit(code)


def _restart() -> NoReturn:
    raise RestartRequest


def _above_streams(fd: int) -> int:
    """The descriptor under a number that is not a standard stream's: the last cell may have closed those."""
    if fd > 2:
        return fd
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def _reap() -> None:
    """Zombies of earlier cells count against the limit on processes; their statuses are lost."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # foreign streams, and closed ones
            stream.flush()


def live() -> NoReturn:
    """Be the interpreter from here on; the process is the job's already."""
    # This is inside the import of sitecustomize, for ever: an `import site` in a thread would wait for its end.
    for name in ("site", "sitecustomize"):
        if (module := sys.modules.get(name)) and module.__spec__:
            module.__spec__._initializing = False  # type: ignore[attr-defined]
    for name in [name for name in sys.modules if name.partition(".")[0] == "leasebox_guest"]:
        del sys.modules[name]
    Repl(CONTROL_FD).serve()
