"""What does the forked child do until it is the program?

It gives up the agent's descriptors, signals and rights, and then either returns into an interpreter that looks freshly
started (`main.py`), or execs, or handles files itself. What it tells the agent goes through the status pipe, which is
closed before the first line of foreign code runs.
"""

# pathlib would be loaded into every job
# ruff: noqa: PTH108, PTH118, PTH119, PTH120

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import json
import os
import sys
import time
from errno import EDQUOT, ENOENT, ENOSPC, ENOTDIR

from leasebox_guest import files, posix
from leasebox_guest.child import take_orders
from leasebox_guest.pages import Pages
from leasebox_guest.parity import as_fresh_python, shadowed
from leasebox_guest.settings import Settings
from leasebox_guest.spec import JobKind, Spec

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_STATUS_FD = 3
_ORDERS_FD = 4
_STARTUP_NAMES = ("PYTHON", "LD_", "LC_", "GLIBC_", "MALLOC_")


class Rights:
    """Whose rights a job has: another uid where the agent may switch, else its own."""

    __slots__ = ("_agent", "gid", "switches", "uid")

    def __init__(self, settings: Settings) -> None:
        self._agent = os.getpid()
        self.switches = posix.has_set_ids()
        self.uid = settings.job_uid if self.switches else os.getuid()
        self.gid = settings.job_gid if self.switches else os.getgid()

    def become(self) -> None:
        """Take the job's uid for good: no capability, no new privileges, first in line when memory runs out."""
        if not self.switches:
            posix.set_dumpable(True)  # /proc/self belongs to root otherwise, and this uid is not
        _die_first()
        if self.switches:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        posix.drop_capabilities()
        posix.forbid_new_privileges()
        posix.set_dumpable(True)  # else /dev/stdin, /dev/stdout and /proc/self/fd fail
        if self._agent != 1:
            # With PID 1 its namespace ends. Another agent's death would leave a frozen interpreter stopped for ever.
            posix.die_with(self._agent)

    def unlink(self, path: str) -> None:
        """Remove a file as the job would, within the agent. Only while no process of the job's uid runs."""
        if self.switches:
            os.setegid(self.gid)
            os.seteuid(self.uid)
        try:
            os.unlink(path)
        except OSError:
            pass  # the job moved it, or put a folder there: its own affair
        finally:
            if self.switches:
                os.seteuid(0)
                os.setegid(0)


def may_fork(spec: Spec, settings: Settings) -> bool:
    """Whether a fork of PID 1 would be the same as `python3 main.py` with this spec (GUEST.md section 2, fall back)."""
    return (
        settings.forks
        and spec.kind is JobKind.PYTHON
        and spec.argv[0] == "main.py"
        and spec.cwd == settings.workspace
        and spec.env.get("LANG") == os.environ.get("LANG")
        and "TZ" not in spec.env
        and not any(name.startswith(_STARTUP_NAMES) for name in spec.env)
    )


def wait(pipes: tuple[int, ...], rights: Rights, settings: Settings, pages: Pages) -> None:
    """Be ready, then be the job. Returns only in a program that goes on as `main.py`; nothing escapes from here.

    Args:
        pipes: The job's ends of stdin, stdout, stderr, status and orders.
        rights: Whose rights it gets.
        settings: The agent's.
        pages: What it makes its own until the job comes.
    """
    try:
        _detach(pipes)
        rights.become()
        os.umask(0o022)
        pages.take_over(_ORDERS_FD)
        payload, code = take_orders(_ORDERS_FD)
        if not payload:
            os._exit(0)
        os.close(_ORDERS_FD)
        _report(waited_cpu_s=time.process_time())
        _enter(Spec(payload, settings.workspace), code, settings)
    except BaseException as exc:  # noqa: BLE001 (the child must never run on as the agent)
        _give_up(exc)


def _enter(spec: Spec, code: bytes, settings: Settings) -> None:
    """Be the job; returns as `wait` does."""
    forks = may_fork(spec, settings)
    start_env = dict(os.environ)
    os.chdir(spec.cwd)
    os.environ.clear()
    os.environ.update(spec.env)
    if spec.kind is JobKind.PUT:
        os._exit(files.put(settings.workspace))
    if spec.kind is JobKind.GET:
        os._exit(files.get(settings.workspace, spec.argv[0]))
    if spec.kind is JobKind.FILE:
        from leasebox_guest import tree

        os._exit(tree.run(settings.workspace, spec.argv))
    written = _write_code(spec, code, settings)
    if forks and written in (None, spec.code_path) and not shadowed():
        _report(forked=True, code=written)
        os.close(_STATUS_FD)
        as_fresh_python(spec, start_env)
        return
    _report(forked=False, code=written)
    _execute(_argv(spec, written, settings.workspace), spec.env)


def _detach(pipes: tuple[int, ...]) -> None:
    os.setsid()
    _signal.set_wakeup_fd(-1)
    for target, fd in enumerate(pipes):
        os.dup2(fd, target, inheritable=target < _STATUS_FD)
    os.closerange(_ORDERS_FD + 1, os.sysconf("SC_OPEN_MAX"))
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _die_first() -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(fd, b"1000")
    os.close(fd)


def _write_code(spec: Spec, code: bytes, settings: Settings) -> str | None:
    """Write the source; where its name is taken, under a hidden one beside it. Returns the path that was written.

    In a workspace that is full it goes to the first of the places that are wiped after the job: a session whose job
    filled the disk can still run the program that makes room again.
    """
    if not spec.code_path:
        return None
    try:
        return _write_below(settings.workspace, spec.code_path, code)
    except OSError as exc:
        if exc.errno not in (ENOSPC, EDQUOT) or not settings.wipe:
            raise
    elsewhere = settings.wipe[0]
    return f"{elsewhere}/{_write_below(elsewhere, os.path.basename(spec.code_path), code)}"


def _write_below(root: str, wanted: str, code: bytes) -> str:
    folder, name = files.open_parent(root, wanted, makes=True)
    hidden = f".leasebox-{os.urandom(6).hex()}-{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        fd = os.open(name, flags, 0o644, dir_fd=folder)
        path = wanted
    except FileExistsError:
        fd = os.open(hidden, flags, 0o644, dir_fd=folder)
        path = os.path.join(os.path.dirname(wanted), hidden)
    try:
        view = memoryview(code)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        os.unlink(os.path.basename(path), dir_fd=folder)
        raise
    os.close(fd)
    os.close(folder)
    return path


def _argv(spec: Spec, written: str | None, workspace: str) -> list[str]:
    """The arguments of the exec, with the path at which the source really is in place of the one asked for."""
    argv = list(spec.argv)
    if written is not None and (written != spec.code_path or spec.cwd != workspace):
        argv = [os.path.join(workspace, written) if arg == spec.code_path else arg for arg in argv]
    if spec.kind is JobKind.PYTHON:
        argv = [sys.executable, *(["-u"] if spec.line_buffered else []), *argv]
    return argv


def _execute(argv: list[str], env: dict[str, str]) -> None:
    """Exec the program, looked up on PATH. All signals as a shell would start it."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
        _signal.signal(number, _signal.SIG_DFL)
    program = argv[0]
    folders = [""] if "/" in program else env.get("PATH", os.defpath).split(":")
    failure = FileNotFoundError(ENOENT, "not found on PATH", program)
    for folder in folders:
        try:
            os.execve(os.path.join(folder, program), argv, env)  # noqa: S606
        except OSError as exc:
            if exc.errno not in (ENOENT, ENOTDIR) or "/" in program:
                failure = exc  # type: ignore[assignment]
    raise failure


def _report(**fields: object) -> None:
    os.write(_STATUS_FD, json.dumps(fields).encode() + b"\n")


def _give_up(exc: BaseException) -> None:
    """Tell the agent why the program could not start, and end."""
    code = NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE
    try:
        _report(error=f"{type(exc).__name__}: {exc}"[:1024])
    finally:
        os._exit(code)


def prepare_forks() -> None:
    """Make the agent's process cheap to fork: what lives now is never looked at by the garbage collector again."""
    gc.disable()
    gc.freeze()
