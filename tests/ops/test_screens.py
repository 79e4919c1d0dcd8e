"""Can the pictures of the pages be taken anew, of the system as it is now?"""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import lacking
from tests.ops import screens

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.long
@pytest.mark.timeout(400)
def test_each_picture_is_taken_of_a_live_system(bwrap: Path, program: Callable[[str, str], Path], tmp_path: Path):
    if shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None:
        lacking("chromium or playwright", "`ops/dev/browser.sh .venv` as root installs them")

    screens.take(tmp_path / "images", program("prometheus", "prometheus"), jobs_for_s=12)

    made = sorted((tmp_path / "images").iterdir())
    assert [picture.name for picture in made] == sorted(screens.NAMES)
    assert all(picture.read_bytes().startswith(PNG) for picture in made)


def test_the_pages_show_each_picture_and_none_is_large():
    pages = "".join(page.read_text() for page in screens.IMAGES.parent.glob("*.md"))

    assert sorted(picture.name for picture in screens.IMAGES.iterdir()) == sorted(screens.NAMES)
    for name in screens.NAMES:
        assert f"](images/{name})" in pages
        assert (screens.IMAGES / name).stat().st_size < screens.MOST_BYTES
