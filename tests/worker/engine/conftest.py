"""What do tests of the engine stand on? A registered node with real sandboxes, without Celery."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasebox_guest.install import install
from leasebox_worker.drivers.base import DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import Mode
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.sandboxes import Placement, Sandboxes
from leasebox_worker.policy.profiles import BUILT_IN


@pytest.fixture(scope="session")
def placement() -> Iterator[Placement]:
    """The agent's folder, and timers of seconds."""
    root = Path(tempfile.mkdtemp(prefix="lbe-", dir="/tmp"))
    root.chmod(0o755)
    yield Placement(
        installation="engine-test",
        node="n",
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
