"""The drivers under test, each on this machine's real engine or kernel."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker.errors
import pytest

from leasebox_guest.install import install
from leasebox_worker.drivers.base import Driver, DriverSettings, Handle
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import Mode
from leasebox_worker.drivers.conformance import Bench
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.drivers.process import ProcessDriver


@pytest.fixture(scope="session")
def agent_dir() -> Iterator[Path]:
    """The agent, where every uid of a sandbox can reach it (pytest's own folders are closed to others)."""
    root = Path(tempfile.mkdtemp(prefix="lbd-", dir="/tmp"))
    root.chmod(0o755)
    yield install(root, None)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def settings(run_id: str) -> Iterator[DriverSettings]:
    """An installation of this run's own."""
    state = Path(tempfile.mkdtemp(prefix="lbs-", dir="/tmp"))
    state.chmod(0o711)
    yield DriverSettings(installation=run_id, node="test", state_dir=state)
    shutil.rmtree(state)


@pytest.fixture(scope="session")
def docker_driver(settings: DriverSettings, python_image: str) -> Iterator[DockerDriver]:
    """A driver of this machine's engine."""
    driver = DockerDriver(settings)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def bubblewrap_r1(settings: DriverSettings, bwrap: Path) -> Iterator[BubblewrapDriver]:
    """R1; as root it drops to a pool uid first."""
    driver = BubblewrapDriver(settings, Mode.ROOTLESS)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def bubblewrap_r2(settings: DriverSettings, bwrap: Path) -> Iterator[BubblewrapDriver]:
    """R2."""
    if os.geteuid() != 0:
        pytest.skip("R2 needs root: run the tests with sudo")
    driver = BubblewrapDriver(settings, Mode.ROOT)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def process_driver(settings: DriverSettings) -> Iterator[ProcessDriver]:
    """Plain processes."""
    driver = ProcessDriver(settings)
    yield driver
    driver.close()


@pytest.fixture
def bench(request: pytest.FixtureRequest, agent_dir: Path) -> Bench:
    """The driver that the test names as its parameter."""
    driver: Driver = request.getfixturevalue(request.param)
    image = request.getfixturevalue("python_image") if driver.name == "docker" else ""
    finder = _container_leftovers(request) if driver.name == "docker" else _no_more
    return Bench(driver, agent_dir, image, lambda handle: finder(handle) + _host_leftovers(handle))


def _container_leftovers(request: pytest.FixtureRequest) -> Callable[[Handle], list[str]]:
    client = request.getfixturevalue("docker_engine").client

    def find(handle: Handle) -> list[str]:
        try:
            return [f"container {client.containers.get(handle.id).status}"]
        except docker.errors.NotFound:
            return []

    return find


def _no_more(handle: Handle) -> list[str]:
    return []


def _host_leftovers(handle: Handle) -> list[str]:
    """Mounts, cgroups, folders and processes that carry the sandbox's id or name."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if _names(handle, line)]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/*/*") if _names(handle, path.name)]
    folders = [str(path) for path in Path("/tmp").glob("lbs-*/*/*") if _names(handle, path.name)]
    return mounts + groups + folders + _processes(handle)


def _processes(handle: Handle) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if _names(handle, command):
            found.append(command)
    return found


def _names(handle: Handle, text: str) -> bool:
    return handle.id in text or handle.name in text
