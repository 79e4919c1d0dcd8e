"""What do the tests of an operator's files need? Programs of Debian, for which the long ones ask."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import lacking

OPS = Path(__file__).parents[2] / "ops"


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
