"""Nothing outlives an agent that is killed, also where no pid namespace ends with it (the driver `process`)."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox_image.leasebox_guest.conftest import JOB_UID, eventually

from leasebox_guest.frames import Kind


@pytest.fixture
def workspace() -> Iterator[str]:
    """A folder of the job's uid."""
    folder = tempfile.mkdtemp(dir="/tmp")
    shutil.chown(folder, JOB_UID)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def plain(spawn: Callable[..., Any], workspace: str) -> Iterator[Any]:
    """An agent of the test's own without a pid namespace."""
    host = spawn("plain", "--workspace", workspace)
    host.expect(Kind.READY)
    yield host
    host.close()


def children(pid: int) -> list[int]:
    """Of a process with one thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_there(pid: int) -> bool:
    """Whether it lives; a zombie does not, and goes when its new parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_frozen_interpreter_is_gone(plain: Any, workspace: str) -> None:
    plain.cell("keep = 41", cwd=workspace)
    (kept,) = children(plain.pid)
    assert Path(f"/proc/{kept}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    os.kill(plain.pid, signal.SIGKILL)

    eventually(lambda: not is_there(kept))


@pytest.mark.parametrize("argv", [["main.py"], ["-u", "main.py"]], ids=["forked", "execed"])
def test_a_running_program_is_gone(plain: Any, workspace: str, argv: list[str]) -> None:
    plain.start("import time; print('there', flush=True); time.sleep(60)", argv=argv, cwd=workspace)
    plain.until_output(b"there")
    (program,) = children(plain.pid)

    os.kill(plain.pid, signal.SIGKILL)

    eventually(lambda: not is_there(program))
