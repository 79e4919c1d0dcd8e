"""Every `bash` and `python` block of the how-to pages works as it stands there, on an embedded stack."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import Eventually
from tests.processes import is_healthy

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(bash|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
PAGES = [page for page in sorted((ROOT / "docs" / "how-to").glob("*.md")) if BLOCK.search(page.read_text())]


@contextmanager
def settings() -> Iterator[dict[str, str]]:
    """Settings under which commands start a stack that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="lbr-", dir="/tmp") as home:
        Path(home).chmod(0o755)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        yield {**os.environ, "LEASEBOX_HOME": home, "PATH": path}


@pytest.fixture(scope="module")
def environment(bwrap: Path, eventually: Eventually) -> Iterator[dict[str, str]]:
    """Settings of a stack that `leasebox up` keeps as in another terminal; `$API` is where it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with settings() as given:
        made = given | {"LEASEBOX_API_PORT": port, "API": f"http://127.0.0.1:{port}"}
        command = [sys.executable, "-m", "leasebox.cli", "up"]
        with subprocess.Popen(command, env=made, stdout=subprocess.DEVNULL) as up:
            try:
                eventually(lambda: is_healthy(made["API"]), within_s=60)
                yield made
            finally:
                up.terminate()


@pytest.fixture
def cold(bwrap: Path) -> Iterator[dict[str, str]]:
    """Settings of a stack that the page itself starts, with what it sets."""
    with settings() as made:
        yield made
        subprocess.run([sys.executable, "-m", "leasebox.cli", "down"], env=made, check=True, timeout=60)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, request: pytest.FixtureRequest) -> None:
    starts_it = "os.environ |= " in page.read_text()
    environment = request.getfixturevalue("cold" if starts_it else "environment")

    for kind, text, expected in BLOCK.findall(page.read_text()):
        command = ["bash", "-euc", text] if kind == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        if expected:
            assert done.stdout == expected
        if "leasebox destroy build" in text:
            assert "It was closed." in done.stdout
