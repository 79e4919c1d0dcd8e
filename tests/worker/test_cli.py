"""Does the command line of the worker speak to people, also where something is missing?"""

import subprocess
import sys

WITHOUT_AN_EXTRA = """
import sys
sys.modules["structlog"] = None
from leasebox_worker.cli import main
sys.argv = ["leasebox-worker", "run"]
main()
"""


def test_a_host_without_the_extra_is_told_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_AN_EXTRA], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "leasebox-worker: structlog is not installed (pip install 'leasebox[worker]')\n"
