"""What do the tests of an operator's files need? Programs of Debian, for which the long ones ask."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import lacking

OPS = Path(__file__).parents[2] / "ops"
BACKUP, RESTORE = OPS / "backup" / "backup.py", OPS / "backup" / "restore.py"
SECRETS = {"LEASEBOX_KEY_PEPPER": "p" * 32, "LEASEBOX_AUDIT_KEY": "a" * 32}


def run(*command: object, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python program with these further settings, to its end."""
    environment = {**os.environ, **more}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, check=False
    )


def leasebox(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A verb of the command line, by somebody who has the operator's secrets."""
    return run("-m", "leasebox.cli", *words, LEASEBOX_URL=url, **SECRETS)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder whose path is short enough for sockets, and which sandboxes can reach."""
    with tempfile.TemporaryDirectory(prefix="lbo-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], Path]:
    """Find a program, or install the Debian package that has it where this is root's machine."""

    def find(name: str, package: str) -> Path:
        if shutil.which(name) is None and os.geteuid() == 0 and shutil.which("apt-get"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
            for command in (["apt-get", "update", "-qq"], install):
                subprocess.run(command, env=environment, capture_output=True, check=False)
        found = shutil.which(name)
        return Path(found) if found else lacking(name, f"apt-get install {package}")

    return find
