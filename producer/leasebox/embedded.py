"""The embedded stack: a private Valkey and one worker of this user, started by whoever needs them first.

Three parties share two locks in the state folder:

| party | `embedded.lock` | `embedded.alive` |
|---|---|---|
| a client with a request | shared, from the look whether the stack is up until Redis has the job | - |
| a client that starts it | exclusive, until it is ready | - |
| the supervisor | exclusive, while it decides to stop and stops | exclusive for its whole life |

So two shells never start two stacks, none stops under a fresh submit, and a crashed supervisor is known by its lock,
which the kernel took back. The supervisor (`python -m leasebox._supervisor`) owns Valkey and the worker: it starts
either again when it dies, and ends both after `embedded_idle_s` without a job, a live session or an open stream.
"""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from leasebox.config import ClientSettings, child_environment
from leasebox.contract.errors import ConfigError, StartFailed

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
# sun_path has 108 bytes with its closing NUL (unix(7)).
_MAX_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a stack are."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Shared by clients and supervisor; its time of change is that of the last request."""
        return self.folder / "embedded.lock"

    @property
    def alive(self) -> Path:
        """Locked by the supervisor as long as it lives."""
        return self.folder / "embedded.alive"

    @property
    def ready(self) -> Path:
        """Who the supervisor is; there only while Valkey and worker are usable."""
        return self.folder / "embedded.json"

    @property
    def log(self) -> Path:
        """What supervisor and worker say."""
        return self.folder / "embedded.log"

    @property
    def socket(self) -> Path:
        """Valkey's socket; outside of a folder whose path is too long for one."""
        near = self.folder / "v.sock"
        if len(os.fsencode(near)) <= _MAX_SOCKET_PATH:
            return near
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"leasebox-{os.getuid()}-{digest}" / "v.sock"

    @property
    def url(self) -> str:
        """For clients, worker and Celery."""
        return f"redis+socket://{self.socket}?virtual_host=0"


@dataclass(frozen=True, slots=True)
class Ready:
    """What a running stack says of itself."""

    pid: int
    valkey_pid: int
    worker_pid: int
    started_at: float


class Hold:
    """The stack stays up until `release`."""

    def __init__(self, file: int) -> None:
        self._file = file

    def release(self) -> None:
        """Let the stack stop when it is idle."""
        os.close(self._file)


class Stack:
    """Finds, starts and stops the embedded stack of one state folder.

    Args:
        worker_command: Instead of `leasebox-worker run --embedded`.
    """

    def __init__(self, settings: ClientSettings, worker_command: Sequence[str] = ()) -> None:
        self.place = Place(settings.home)
        self._settings = settings
        self._worker_command = worker_command

    @property
    def url(self) -> str:
        """The stack's Redis, whether it is up or not."""
        return self.place.url

    def hold(self) -> Hold:
        """Make sure that the stack is up, and keep it so.

        Raises:
            ConfigError: A part of it is not installed, or the state folder cannot be used.
            StartFailed: It did not become ready; the detail is its own last word.
        """
        self._make_folder()
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            file = _locked(self.place.lock, fcntl.LOCK_SH)
            if self.running() is not None:
                os.utime(self.place.lock)
                return Hold(file)
            os.close(file)
            self._start(deadline)
        raise StartFailed("the embedded stack stops as soon as it has started", hint=f"see {self.place.log}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """`hold` as a context."""
        hold = self.hold()
        try:
            yield
        finally:
            hold.release()

    def running(self) -> Ready | None:
        """The running stack, if there is one that is ready."""
        if not _is_locked(self.place.alive):
            return None
        with suppress(OSError, ValueError, TypeError):
            return Ready(**json.loads(self.place.ready.read_text()))
        return None

    def stop(self) -> bool:
        """End supervisor, worker and Valkey; False when nothing was running.

        Raises:
            StartFailed: They did not end in time.
        """
        if not self.place.alive.exists() or not _is_locked(self.place.alive):
            return False
        ready = self.running()
        pid = ready.pid if ready else int(self.place.alive.read_text() or 0)
        if pid > 1:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _is_locked(self.place.alive):
            if time.monotonic() > deadline:
                raise StartFailed(f"the embedded stack (process {pid}) does not end", hint=f"kill -9 {pid}")
            time.sleep(_POLL_S)
        return True

    def _make_folder(self) -> None:
        try:
            self.place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.place.lock.touch(mode=0o600)
        except OSError as exc:
            raise ConfigError(
                f"cannot use the state folder {self.place.folder}: {exc.strerror}", hint="set LEASEBOX_HOME"
            ) from exc

    def _start(self, deadline: float) -> None:
        file = _locked(self.place.lock, fcntl.LOCK_EX)
        try:
            if self.running() is not None:
                return
            child = None
            if not _is_locked(self.place.alive):
                # One that was killed has left it; the next one could be taken for that until it removes it itself.
                self.place.ready.unlink(missing_ok=True)
                child = spawn(self._settings, self._worker_command)
            while self.running() is None:
                if child is not None and child.poll() is not None:
                    raise StartFailed(f"the embedded stack did not start: {last_word(self.place.log)}")
                if time.monotonic() > deadline:
                    raise StartFailed("the embedded stack is not ready in time", hint=f"see {self.place.log}")
                time.sleep(_POLL_S)
        finally:
            os.close(file)


def spawn(settings: ClientSettings, worker_command: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """Start a supervisor that outlives this process and its terminal."""
    place = Place(settings.home)
    with place.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "leasebox._supervisor", *worker_command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=supervisor_environment(settings),
        )


def supervisor_environment(settings: ClientSettings) -> dict[str, str]:
    """What the supervisor needs of the client's settings, whichever source they came from."""
    return child_environment(
        LEASEBOX_HOME=str(settings.home),
        LEASEBOX_PREFIX=settings.prefix,
        LEASEBOX_EMBEDDED_IDLE_S=str(settings.embedded_idle_s),
    )


def last_word(log: Path) -> str:
    """The last line of the log that says something, without who says it."""
    with suppress(OSError):
        lines = [line for line in log.read_bytes()[-8192:].decode(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip().removeprefix("leasebox: ")
    return f"see {log}"


def write_ready(place: Place, ready: Ready) -> None:
    """Say that the stack is usable; atomic, so that no client reads half of it."""
    partial = place.ready.with_suffix(".new")
    partial.write_text(json.dumps(asdict(ready)))
    partial.replace(place.ready)


def _locked(path: Path, how: int) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, how)
    return file


def try_lock(path: Path) -> int | None:
    """The file, locked exclusively; None when another process has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two clients that look at the same time do not see each other.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
