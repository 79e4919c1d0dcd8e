"""What does a worker that takes leave end, and what does it leave in peace? Real agents under bubblewrap."""

from typing import Any

import pytest

from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.drain import Drain
from leasebox_worker.engine.runner import run_job
from leasebox_worker.lifecycle.fence import Fence


def test_a_session_whose_job_was_settled_a_moment_ago_is_left_in_peace(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    deps.fence = Fence(60.0)
    drain, settle = Drain(deps, timeout_s=20.0, close=lambda: None), deps.tracker.settle

    def settled_and_drained(*args: Any, **more: Any) -> Any:
        answer = settle(*args, **more)
        drain.signalled()
        assert drain.is_through.wait(20.0)
        return answer

    monkeypatch.setattr(deps.tracker, "settle", settled_and_drained)
    run_job(worker_node.submit("s", {"code": "pass"}), deps)

    assert len(deps.sandboxes.all()) == 1
