"""Do the gauges tell what a worker holds in the moment in which they are read?"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from leasebox_worker.engine import gauges
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.runner import run_job

MIB = 1 << 20


@pytest.fixture
def told(deps: Deps, tmp_path: Path) -> CollectorRegistry:
    """Prometheus' view of a worker."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(gauges.Gauges(deps, bound=7, home=tmp_path))
    return registry


def test_an_idle_session_is_a_sandbox_with_its_memory_and_its_workspace(
    worker_node: Any, deps: Deps, told: CollectorRegistry
) -> None:
    assert told.get_sample_value("leasebox_sandboxes", {"state": "idle"}) == 0
    runs = REGISTRY.get_sample_value("leasebox_job_seconds_count", {"phase": "run"}) or 0
    run_job(worker_node.submit("s", {"code": "open('f', 'wb').write(bytes(3 << 20))"}), deps)

    assert told.get_sample_value("leasebox_sandboxes", {"state": "idle"}) == 1
    assert told.get_sample_value("leasebox_sandboxes", {"state": "busy"}) == 0
    assert told.get_sample_value("leasebox_sandbox_places") == 7
    assert 3 * MIB <= (told.get_sample_value("leasebox_workspace_bytes") or 0) < 4 * MIB
    if os.geteuid() == 0:  # without a cgroup nobody counts
        assert (told.get_sample_value("leasebox_sandbox_memory_bytes") or 0) > 3 * MIB
    assert REGISTRY.get_sample_value("leasebox_job_seconds_count", {"phase": "run"}) == runs + 1


def test_why_no_work_is_taken_is_told_for_each_reason(deps: Deps, told: CollectorRegistry) -> None:
    deps.intake.pause(Pause.FULL)

    found = {reason: told.get_sample_value("leasebox_paused", {"reason": reason}) for reason in Pause}
    assert found == {reason: int(reason is Pause.FULL) for reason in Pause}


def test_the_disk_is_that_of_the_state_folder(told: CollectorRegistry, tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)

    assert told.get_sample_value("leasebox_disk_size_bytes") == disk.f_blocks * disk.f_frsize
    assert 0 < (told.get_sample_value("leasebox_disk_free_bytes") or 0) <= disk.f_blocks * disk.f_frsize


def test_the_page_on_top_of_the_module_names_every_figure(told: CollectorRegistry) -> None:
    assert {m.name for m in told.collect()} == set(re.findall(r"`(leasebox_\w+)`", str(gauges.__doc__)))
