"""Every `bash` and `python` block of the how-to pages works as it stands there, on an embedded stack of its own."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.conftest import Eventually

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(bash|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
PAGES = [page for page in sorted((ROOT / "docs" / "how-to").glob("*.md")) if BLOCK.search(page.read_text())]


@pytest.fixture
def environment(bwrap) -> Iterator[dict[str, str]]:
    """Settings under which commands start a stack that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="lbr-", dir="/tmp") as home:
        Path(home).chmod(0o755)
        bin_folder = str(Path(sys.executable).parent)
        made = {**os.environ, "LEASEBOX_HOME": home, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        yield made
        subprocess.run([sys.executable, "-m", "leasebox.cli", "down"], env=made, check=True, timeout=60)


@pytest.fixture
def with_api(environment: dict[str, str], eventually: Eventually) -> Iterator[None]:
    """`leasebox up` in another terminal, on a port that nobody else uses; `$API` is its address, as the pages say."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment["LEASEBOX_API_PORT"] = port = str(probe.getsockname()[1])
    environment["API"] = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "leasebox.cli", "up"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as up:
        try:
            eventually(lambda: _answers(environment["API"]), within_s=60)
            yield
        finally:
            up.terminate()


def _answers(api: str) -> bool:
    try:
        return httpx2.get(f"{api}/healthz").is_success
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, environment: dict[str, str], request: pytest.FixtureRequest) -> None:
    if page.stem == "http":
        request.getfixturevalue("with_api")

    for kind, text, expected in BLOCK.findall(page.read_text()):
        command = ["bash", "-euc", text] if kind == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        if expected:
            assert done.stdout == expected
        if "leasebox destroy build" in text:
            assert "It was closed." in done.stdout
