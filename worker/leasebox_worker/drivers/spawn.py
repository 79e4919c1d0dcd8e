"""How does the worker start a process that must die with it, in its own cgroups, with its own limits and uid?

Everything happens on one thread that lives as long as the driver: the kernel's parent-death signal follows the *thread*
that forked (prctl(2), PR_SET_PDEATHSIG), and pool or request threads come and go.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Launch:
    """One process to start.

    Attributes:
        groups: cgroup folders that it joins before it execs, so that nothing of it is ever outside.
        ulimits: Soft = hard by name of `RLIMITS`.
        become_uid: Uid and gid to drop to before the exec; None = stay.
        last: Runs in the child after all of that, just before the exec; must touch nothing but the kernel.
    """

    command: Sequence[str]
    pass_fds: Sequence[int] = ()
    groups: Sequence[Path] = ()
    ulimits: Mapping[str, int] = field(default_factory=dict)
    become_uid: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    last: Callable[[], None] | None = None


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
        return self._thread.submit(_start, launch).result()

    def close(self) -> None:
        """End the thread, and with it every process that is bound to it."""
        self._thread.shutdown(wait=True)


def _start(launch: Launch) -> Spawned:
    joins = [os.open(group / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for group in launch.groups]
    limits = [(RLIMITS[name], (value, value)) for name, value in launch.ulimits.items()]

    def _prepare() -> None:
        for join in joins:
            os.write(join, b"0")
        for number, pair in limits:
            resource.setrlimit(number, pair)
        with suppress(OSError):
            _raise_oom_score()
        if launch.become_uid is not None:
            os.setgroups([])
            os.setresgid(launch.become_uid, launch.become_uid, launch.become_uid)
            os.setresuid(launch.become_uid, launch.become_uid, launch.become_uid)
        if launch.last:
            launch.last()

    try:
        # Only system calls run between fork and exec: no lock of another thread can be needed there.
        process = subprocess.Popen(
            launch.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=launch.pass_fds,
            env=dict(launch.environment),
            cwd=launch.folder,
            start_new_session=True,
            preexec_fn=_prepare,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise StartFailed(f"cannot run {launch.command[0]}: {exc}") from exc
    finally:
        for join in joins:
            os.close(join)
    return Spawned(process, _channel(process))


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


def _raise_oom_score() -> None:
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, str(OOM_SCORE).encode())
    os.close(score)
