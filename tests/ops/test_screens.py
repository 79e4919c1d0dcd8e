"""Can the pictures of the pages be taken anew, of the system as it is now?"""

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import lacking

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
PNG = b"\x89PNG\r\n\x1a\n"
MOST_BYTES = 150_000


def pictures(folder: Path) -> list[str]:
    """Their names; each must be a small PNG."""
    found = sorted(folder.iterdir())
    assert all(picture.read_bytes().startswith(PNG) for picture in found)
    assert all(picture.stat().st_size < MOST_BYTES for picture in found)
    return [picture.name for picture in found]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_each_picture_is_taken_of_a_live_system(bwrap: Path, program: Callable[[str, str], Path], tmp_path: Path):
    if shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None:
        lacking("chromium or playwright", "`ops/dev/browser.sh .venv` as root installs them")
    from tests.ops import screens  # not at the top: matplotlib would be loaded wherever tests are collected

    screens.take(tmp_path, program("prometheus", "prometheus"), jobs_for_s=12)

    assert pictures(tmp_path) == pictures(PAGES / "images")


def test_the_pages_show_each_picture():
    shown = re.findall(r"]\(images/(\S+)\)", "".join(page.read_text() for page in PAGES.glob("*.md")))

    assert sorted(shown) == pictures(PAGES / "images")
