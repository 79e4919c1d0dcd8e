"""A worker that was killed leaves sandboxes; the next one on its state folder finds and ends them all."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from leasebox_worker.drivers.base import DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.process import ProcessDriver

PROGRAM = Path(__file__).with_name("crashing_worker.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def state_dir():
    folder = Path(tempfile.mkdtemp(prefix="lbs-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def traces(name: str) -> list[str]:
    """Everything on this host that carries the sandbox's name, but its state folder."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/leasebox/*") if path.name == name]
    files = [str(path) for path in Path("/var/lib/leasebox/process").glob(name)]
    return mounts + groups + files


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "driver"), [("bubblewrap", BubblewrapDriver), ("process", ProcessDriver)])
def test_the_next_worker_sweeps_what_a_killed_one_left(kind, driver, bwrap, state_dir, agent_dir, eventually):
    path = os.pathsep.join(str(ROOT / part) for part in ("producer", "worker", "sandbox_image"))
    worker = subprocess.Popen(
        [sys.executable, str(PROGRAM), kind, str(state_dir), str(agent_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert worker.stdout is not None
    with worker.stdout:
        name, code = worker.stdout.readline().split()
        pid = int((state_dir / kind / name / "pid").read_text().split()[0])
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert code == "0"

    next_worker = driver(DriverSettings("crash", "test", state_dir))
    found = next_worker.list()
    next_worker.close()

    assert found == []
    assert traces(name) == []
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert not (state_dir / kind / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["bubblewrap_r1", "process_driver"], indirect=True)
def test_the_sandboxes_of_a_living_worker_are_not_swept(bench, settings):
    with bench.sandbox() as (handle, _, guest):
        second = type(bench.driver)(settings)
        seen = [found.handle.name for found in second.list() if found.alive]
        second.close()
        ended = guest.run(b"print('alive')", 10)

    assert handle.name in seen
    assert ended.stdout == b"alive\n"
