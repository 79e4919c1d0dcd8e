"""Does a newcomer's first command work on a clone in which nothing was set up?"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """The committed state in a folder of its own; what it started is ended."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder], check=True)
    yield folder
    subprocess.run([folder / ".venv/bin/leasebox", "down"], check=False)
    shutil.rmtree(folder)


@pytest.mark.timeout(600)
def test_make_run_sets_up_and_runs_the_example(clone):
    # A make above this one would pass on its flags.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "VIRTUAL_ENV"))}

    run = subprocess.run(["make", "run"], cwd=clone, env=env, capture_output=True, text=True, check=False)

    assert "line 5 of 5" in run.stdout, run.stderr
    assert run.returncode == 0
