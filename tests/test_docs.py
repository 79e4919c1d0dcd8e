"""Pages that are made from definitions say what the definitions say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_settings_is_current() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "ops" / "dev" / "settings_page.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, f"{checked.stderr} Run ops/dev/settings_page.py."
