"""How does the worker start a process that must die with it, in its own cgroups, with its own limits and uid?

Everything happens on one thread that lives as long as the driver: the kernel's parent-death signal follows the *thread*
that forked (prctl(2), PR_SET_PDEATHSIG), and pool or request threads come and go.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from leasebox.contract.errors import StartFailed
from leasebox_worker.drivers.channels import PipeChannel
from leasebox_worker.drivers.hardening import OOM_SCORE

RLIMITS = {
    "nofile": resource.RLIMIT_NOFILE,
    "fsize": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "rtprio": resource.RLIMIT_RTPRIO,
    "nproc": resource.RLIMIT_NPROC,
    "data": resource.RLIMIT_DATA,
}

_OPTIONS_END = "--"
_WORDS_BYTES = 4096


@dataclass(frozen=True)
class Launch:
    """One process to start.

    Attributes:
        groups: cgroup folders that it joins before the command begins, so that nothing of it is ever outside.
        ulimits: Soft = hard by name of `RLIMITS`.
        become_uid: Uid and gid to drop to before the exec; None = stay.
        last: Runs in the child after all of that, just before the exec; must touch nothing but the kernel.
        reads_options_by: The option by which the command reads its others, up to `--`, from a descriptor, each ended by
            NUL; without any it must be unable to do something. None = it cannot.
    """

    command: Sequence[str]
    pass_fds: Sequence[int] = ()
    groups: Sequence[Path] = ()
    ulimits: Mapping[str, int] = field(default_factory=dict)
    become_uid: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    last: Callable[[], None] | None = None
    reads_options_by: str | None = None


@dataclass(frozen=True)
class Spawned:
    """A started process and the channel to it."""

    process: subprocess.Popen[bytes]
    channel: PipeChannel


class Spawner:
    """Starts processes, one at a time, on a thread of its own."""

    def __init__(self) -> None:
        """The thread starts with the first launch."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leasebox-spawn")

    def start(self, launch: Launch) -> Spawned:
        """Start it and return once it execed.

        Raises:
            StartFailed: The program cannot be run or a setting was refused.
        """
        if launch.reads_options_by is not None and launch.become_uid is None and launch.last is None:
            process = self._at_the_gate(launch, launch.reads_options_by)
        else:
            process = self._thread.submit(_forked, launch).result()
        return Spawned(process, _channel(process))

    def _at_the_gate(self, launch: Launch, option: str) -> subprocess.Popen[bytes]:
        """Start what waits for its options, and give it these when it has its groups and limits.

        So it needs no copy of this process, which has many threads and much memory: that took half of the time.
        """
        ours, gate = os.pipe2(os.O_CLOEXEC)
        try:
            words = list(launch.command)
            end = words.index(_OPTIONS_END)
            held = replace(launch, command=[words[0], option, str(ours), *words[end:]])
            held = replace(held, pass_fds=(*launch.pass_fds, ours))
            try:
                process = self._thread.submit(_popen, held, None).result()
            finally:
                os.close(ours)  # before the options go: they break a pipe whose only reader has ended
            with _ended_on_error(process, launch):
                _limit(process.pid, launch)
                os.write(gate, "".join(f"{word}\0" for word in words[1:end]).encode())  # far less than a pipe holds
            return process
        finally:
            os.close(gate)

    def call(self, action: Callable[[], None]) -> None:
        """Do something on that thread, whose mount table its processes get."""
        self._thread.submit(action).result()

    def close(self) -> None:
        """End the thread, and with it every process that is bound to it."""
        self._thread.shutdown(wait=True)


@contextmanager
def _ended_on_error(process: subprocess.Popen[bytes], launch: Launch) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        process.kill()
        process.wait()
        said = _last_words(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if isinstance(exc, OSError | ValueError):
            raise StartFailed(f"cannot run {launch.command[0]}: {exc}{said and f' ({said})'}") from exc
        raise


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """What a process that has ended wrote to its stderr, or the first of it."""
    if process.stderr is None:
        return ""
    os.set_blocking(process.stderr.fileno(), False)  # a child of its own may have it open
    return (process.stderr.read(_WORDS_BYTES) or b"").decode(errors="replace").strip()


def _forked(launch: Launch) -> subprocess.Popen[bytes]:
    """Start it by a fork of this process, for what only the new process can do to itself.

    Root may set the limits of a process of another uid from outside only with CAP_SYS_RESOURCE, which containers lack.
    """

    def _prepare() -> None:
        _limit(0, launch)
        if launch.become_uid is not None:
            os.setgroups([])
            os.setresgid(launch.become_uid, launch.become_uid, launch.become_uid)
            os.setresuid(launch.become_uid, launch.become_uid, launch.become_uid)
        if launch.last:
            launch.last()

    # Only system calls run between fork and exec: no lock of another thread can be needed there.
    return _popen(launch, _prepare)


def _popen(launch: Launch, prepare: Callable[[], None] | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            launch.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=launch.pass_fds,
            env=dict(launch.environment),
            cwd=launch.folder,
            start_new_session=True,
            preexec_fn=prepare,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise StartFailed(f"cannot run {launch.command[0]}: {exc}") from exc


def _limit(pid: int, launch: Launch) -> None:
    """Put a process (0: this one) into its groups and below its limits."""
    for group in launch.groups:
        _write(f"{group}/cgroup.procs", str(pid))
    with suppress(OSError):
        _write(f"/proc/{pid or 'self'}/oom_score_adj", str(OOM_SCORE))
    # Last: a fork of a process with many open files can open none once `nofile` holds.
    for name, value in launch.ulimits.items():
        resource.prlimit(pid, RLIMITS[name], (value, value))


def _write(path: str, text: str) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(number, text.encode())
    finally:
        os.close(number)


def _channel(process: subprocess.Popen[bytes]) -> PipeChannel:
    """Takes the pipes over, so that the Popen object closes none of them later."""
    numbers = []
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is None:
            raise StartFailed("a pipe to the agent is missing")
        numbers.append(os.dup(stream.fileno()))
        stream.close()
    stdin, stdout, stderr = numbers
    return PipeChannel(stdin, stdout, stderr)
