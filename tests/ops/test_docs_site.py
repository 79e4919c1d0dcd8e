"""Does the site build with every link in it leading somewhere, and would it fail if one did not?"""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.ops.conftest import OPS

ROOT = OPS.parent
pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def _builder() -> None:
    command = [ROOT / "ops" / "dev" / "venv.sh", Path(sys.prefix), "--group", "docs"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def build(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "ops" / "dev" / "docs_site.py", "--strict"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What git has, without what was built."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    packed = subprocess.run(["tar", "-c", "-T", "-"], cwd=ROOT, input=listed.stdout, capture_output=True, check=True)
    subprocess.run(["tar", "-x"], cwd=tmp_path, input=packed.stdout, check=True)
    return tmp_path


def test_the_site_builds_without_a_warning(tree: Path) -> None:
    told = build(tree)

    assert told.returncode == 0, told.stdout + told.stderr
    for page in ("index.html", "quickstart.html", "how-to/backup.html", "reference/rest.html"):
        assert "<h1" in (tree / "site" / page).read_text()
    assert "Keep a Changelog" in (tree / "site" / "repository" / "CHANGELOG.html").read_text()


def test_a_link_that_leads_nowhere_fails_the_build(tree: Path) -> None:
    with (tree / "docs" / "quickstart.md").open("a") as page:
        page.write("\n[nowhere](how-to/nowhere.md)\n")

    told = build(tree)

    assert told.returncode != 0
    assert "page does not exist" in told.stdout + told.stderr  # between its letters are colours
