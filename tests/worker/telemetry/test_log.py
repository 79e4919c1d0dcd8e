"""What must never stand in a log?"""

import subprocess
import sys

import pytest

FAIL = """
import logging, structlog
from leasebox_worker.telemetry.log import configure

configure("debug", {style!r})


def fail(value):
    raise RuntimeError("broke")


for log in (structlog.get_logger().exception, logging.getLogger("celery").exception):
    try:
        token = "".join(["hun", "ter2"])
        fail(token)
    except RuntimeError:
        log("attempt_broke")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_value_of_a_variable(style: str) -> None:
    """Secrets are variables: a formatter that shows locals would log them."""
    ran = subprocess.run(
        [sys.executable, "-c", FAIL.format(style=style)], capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stderr.count("RuntimeError") >= 2
    assert "hunter2" not in ran.stderr
