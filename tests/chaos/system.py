"""What does a round run on? A private Valkey that can be killed, workers that can be killed, stopped and restarted.

Everything is a real process below one folder in /tmp, so that what is left of a round can be told from all else.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis as redis_py
from tests.conftest import killable_redis, unmount_below

from leasebox.contract.keys import Keys

TIMERS: Mapping[str, float] = {
    "ping_s": 0.5,
    "dead_man_s": 3.0,
    "fence_s": 4.0,
    "reclaim_s": 6.0,
    "adopt_grace_s": 12.0,
    "drained_grace_s": 15.0,
    "heartbeat_s": 1.0,
    "resend_s": 1.0,
    "resend_grace_s": 3.0,
    "start_timeout_s": 20.0,
    "overdue_grace_s": 3.0,
    "cancel_grace_s": 0.5,
    "held_max_s": 60.0,
    "agent_exit_s": 60.0,
}
"""Those of PROTOCOL.md, shortened in their order."""

RECLAIM_S = TIMERS["reclaim_s"]
ADOPT_GRACE_S = TIMERS["adopt_grace_s"]
_SETTINGS = {"SLOTS": "4", "SWEEP_PERIOD_S": "2", "ON_EXIT": "destroy", "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
_LEAVE_WITHIN_S = 45.0
START_WITHIN_S = 60.0


class Server:
    """Valkey with its data on disk: a kill loses nothing, a start finds everything."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self._server = killable_redis(folder)
        self.start = self._server.start
        self.kill = self._server.terminate

    @property
    def url(self) -> str:
        """As `LEASEBOX_URL` has it."""
        return f"redis+socket://{self.socket}"

    def connect(self) -> redis_py.Redis:
        """A client that answers bytes and gives up at once while the server is away."""
        return redis_py.Redis(unix_socket_path=str(self.socket), client_name="chaos")


class Worker:
    """One node; its process comes and goes, its name and state folder stay."""

    def __init__(self, node: str, driver: str, url: str, home: Path) -> None:
        self.node = node
        self.driver = driver
        self.log = home / f"{node}.log"
        timers = {f"TIMERS__{name.upper()}": str(value) for name, value in TIMERS.items()}
        named = {"URL": url, "HOME": str(home), **_SETTINGS, **timers}
        self._environment = {**os.environ, **{f"LEASEBOX_{name}": value for name, value in named.items()}}
        self._child: subprocess.Popen[bytes] | None = None
        self.is_in_hands = False
        """A fault has it, and has not made good yet."""

    def start(self) -> None:
        """Begin a new incarnation; it registers some seconds later."""
        command = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", self.driver, "--node", self.node]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    @property
    def is_alive(self) -> bool:
        """Whether its process exists, stopped or not."""
        return self._child is not None and self._child.poll() is None

    @property
    def status(self) -> int | None:
        """With which its process ended; None while it has not, or never began."""
        return None if self._child is None else self._child.poll()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._child is not None
        return self._child.pid

    def kill(self) -> None:
        """SIGKILL."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def signal(self, number: int) -> None:
        """Send a signal, if there is a process."""
        if self.is_alive:
            os.kill(self.pid, number)

    def leave(self) -> int | None:
        """End by SIGTERM; its status, None if it had to be killed."""
        if self._child is None:
            return 0
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self._child.wait(_LEAVE_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


@dataclass
class System:
    """All of it."""

    home: Path
    server: Server
    workers: Sequence[Worker]
    keys: Keys = field(default_factory=Keys)

    @property
    def url(self) -> str:
        """As `LEASEBOX_URL` has it."""
        return self.server.url

    def incarnation(self, node: str) -> bytes | None:
        """Which process has a node's name; None if none has."""
        with suppress(redis_py.RedisError), self.server.connect() as client:
            found: bytes | None = client.hget(self.keys.node(node), "incarnation")
            return found
        return None

    def registered(self) -> set[str]:
        """Nodes that have registered."""
        with suppress(redis_py.RedisError), self.server.connect() as client:
            return {name.decode() for name in client.zrange(self.keys.nodes(), 0, -1)}
        return set()


def wait_for(condition: Callable[[], object], within_s: float, stop: threading.Event | None = None) -> bool:
    """Whether a condition came true in time; looks some times a second."""
    pause = stop or threading.Event()
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline or pause.wait(0.05):
            return False
    return True


@contextmanager
def running_system(drivers: Sequence[str]) -> Iterator[System]:
    """One worker for each driver named; all of it ends with the block, whatever state it is in."""
    home = Path(tempfile.mkdtemp(prefix="lbc-", dir="/tmp"))
    home.chmod(0o755)
    server = Server(home)
    workers = [Worker(f"{driver}-{n}", driver, server.url, home) for n, driver in enumerate(drivers)]
    system = System(home, server, workers)
    try:
        server.start()
        for worker in workers:
            worker.start()
        nodes = {worker.node for worker in workers}
        if not wait_for(lambda: system.registered() >= nodes, START_WITHIN_S):
            told = "\n".join(worker.log.read_text()[-2000:] for worker in workers)
            for worker in workers:
                worker.leave()  # takes its warm containers along, which a kill would leave in the engine
            raise RuntimeError(f"the workers did not start:\n{told}")
        yield system
    finally:
        for worker in workers:
            if worker.is_alive:
                worker.kill()
        server.kill()
        unmount_below(home)  # after a round that failed: rmtree must not walk into a mount
        shutil.rmtree(home, ignore_errors=True)
