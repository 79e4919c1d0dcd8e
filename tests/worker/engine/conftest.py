"""What do tests of the engine stand on? A registered node with real sandboxes, without Celery."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.worker.engine.engine_proxy import EngineProxy, Mood

from leasebox_guest.install import install
from leasebox_worker.drivers.base import DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import Mode
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.sandboxes import Placement, Sandboxes
from leasebox_worker.policy.profiles import BUILT_IN


@pytest.fixture(scope="session")
def placement() -> Iterator[Placement]:
    """The agent's folder, and timers of seconds."""
    root = Path(tempfile.mkdtemp(prefix="lbe-", dir="/tmp"))
    root.chmod(0o755)
    yield Placement(
        incarnation="n-1",
        agent_dir=install(root, None),
        dead_man_s=8.0,
        agent_exit_s=60.0,
        ready_within_s=10.0,
    )
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def driver(bwrap: Path) -> Iterator[BubblewrapDriver]:
    """Bubblewrap in the mode that this user may have."""
    state = Path(tempfile.mkdtemp(prefix="lbs-", dir="/tmp"))
    state.chmod(0o711)
    mode = Mode.ROOT if os.geteuid() == 0 else Mode.ROOTLESS
    made = BubblewrapDriver(DriverSettings(installation="engine-test", node="n", state_dir=state), mode)
    yield made
    made.close()
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def deps(worker_node: Any, driver: BubblewrapDriver, placement: Placement) -> Iterator[Deps]:
    """What `run_job` needs, with room for two sandboxes."""
    sandboxes = Sandboxes(driver, placement, bound=2)
    yield Deps(worker_node.tracker, sandboxes, BUILT_IN, cancel_grace_s=0.2)
    sandboxes.end_all()


@pytest.fixture
def engine_proxy() -> Iterator[EngineProxy]:
    """The engine, with moods."""
    with tempfile.TemporaryDirectory(prefix="lbp-", dir="/tmp") as folder:
        proxy = EngineProxy(Path(folder) / "engine.sock")
        yield proxy
        proxy.mood = Mood.PASS
        proxy.close()


@pytest.fixture
def docker_driver(engine_proxy: EngineProxy, docker_engine: Any, python_image: str) -> Iterator[DockerDriver]:
    """A driver behind the proxy; its installation's containers are removed at the end."""
    driver = DockerDriver(
        DriverSettings(docker_engine.installation, "n", Path("/nonexistent"), docker_host=engine_proxy.url)
    )
    yield driver
    engine_proxy.mood = Mood.PASS
    driver.close()
    docker_engine.remove_all()


@pytest.fixture
def docker_deps(worker_node: Any, docker_driver: DockerDriver, docker_engine: Any, placement: Placement) -> Deps:
    """What `run_job` needs, with Docker and room for four; the agents' dead-man is short."""
    place = replace(placement, dead_man_s=1.0)
    sandboxes = Sandboxes(docker_driver, place, bound=4)
    yield Deps(worker_node.tracker, sandboxes, BUILT_IN, cancel_grace_s=0.2)
    engine_proxy.mood = Mood.PASS
    sandboxes.end_all()
