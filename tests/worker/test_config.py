"""Which settings does a worker refuse?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from leasebox_worker.config import Timers


@pytest.mark.parametrize(
    ("before", "after"),
    [("ping_s", "dead_man_s"), ("dead_man_s", "fence_s"), ("fence_s", "reclaim_s"), ("reclaim_s", "adopt_grace_s")],
)
def test_timers_that_do_not_rise_are_refused(before: str, after: str) -> None:
    equal = {before: getattr(Timers(), after)}

    with pytest.raises(ValidationError, match="timers must rise in this order"):
        Timers(**equal)


def test_a_heartbeat_must_come_before_the_fence() -> None:
    with pytest.raises(ValidationError, match="heartbeat_s must be below fence_s"):
        Timers(heartbeat_s=Timers().fence_s)


@pytest.mark.slow
def test_a_worker_does_not_start_with_timers_that_do_not_rise(tmp_path: Path) -> None:
    given = {"LEASEBOX_HOME": str(tmp_path), "LEASEBOX_TIMERS__DEAD_MAN_S": "10", "LEASEBOX_TIMERS__FENCE_S": "10"}
    command = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", "bubblewrap"]
    ended = subprocess.run(
        command, env={**os.environ, **given}, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 78
    assert "timers must rise in this order: ping_s < dead_man_s < fence_s < reclaim_s" in ended.stderr
