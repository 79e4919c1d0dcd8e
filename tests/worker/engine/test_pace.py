"""A sandbox that writes without end is read no faster than its pace, and nothing of what it writes is lost."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.pace import Pace
from leasebox_worker.engine.runner import run_job


@pytest.mark.slow
def test_a_burst_is_free_and_what_follows_waits_its_turn() -> None:
    pace = Pace(burst_bytes=1000, bytes_per_s=2000)
    began = time.monotonic()
    pace.keep(1000)
    pace.keep(600)

    assert time.monotonic() - began >= 0.25


FLOOD = {"code": "import os\nfor _ in range(64): os.write(1, b'x' * 65536)"}


@pytest.mark.slow
def test_a_flood_beside_others_is_read_at_its_pace_and_arrives_whole(worker_node: Any, deps: Deps) -> None:
    run_job(worker_node.submit("s", {"code": "pass"}), deps)
    (sandbox,) = deps.sandboxes.all()
    sandbox.pace = Pace(burst_bytes=256 << 10, bytes_per_s=4 << 20)
    deps.running.put(SimpleNamespace(job="another", lease="n-1:1"), sandbox)  # type: ignore[arg-type]
    job = worker_node.submit("s", FLOOD)
    run_job(job, deps)
    found = worker_node.result(job)

    assert (found["outcome"], found["usage"]["output_bytes"]) == ("ok", 4 << 20)
    # Less what was free, and what agent and pipes hold when the program has ended.
    assert found["usage"]["run_s"] >= 0.6


def test_a_flood_that_is_alone_is_read_as_fast_as_it_comes(worker_node: Any, deps: Deps) -> None:
    run_job(worker_node.submit("s", {"code": "pass"}), deps)
    (sandbox,) = deps.sandboxes.all()
    sandbox.pace = Pace(burst_bytes=1, bytes_per_s=64 << 10)  # a minute, were it kept
    job = worker_node.submit("s", FLOOD)
    run_job(job, deps)

    assert worker_node.result(job)["outcome"] == "ok"  # within its 30 s
