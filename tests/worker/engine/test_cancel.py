"""Cancel in all its forms: each ends `cancelled`, and nothing of the job runs on. Real agents under bubblewrap."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.conftest import Eventually

from leasebox_worker.engine.control import Control, cancel, disown
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.runner import run_job
from leasebox_worker.lifecycle.node import Orders

FLOOD = "import os\nwhile True: os.write(1, b'x')"  # small writes: the limit on output is far
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
BROOD = """
import os, time
for _ in range(5): os.fork()
if os.getpid() % 2: os.setsid()
print("on", flush=True)
time.sleep(600)
"""


@contextmanager
def worked_on(job: str, deps: Deps) -> Iterator[None]:
    """A thread works on the job; it must end with the block."""
    thread = threading.Thread(target=run_job, args=(job, deps))
    thread.start()
    try:
        yield
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        deps.sandboxes.discard_all()
        thread.join(30.0)


def has_said(worker_node: Any, job: str) -> bool:
    entries = worker_node.redis.xrange(worker_node.keys.events(job))
    return any(fields[b"type"] == b"stdout" for _, fields in entries)


@pytest.mark.parametrize("code", [FLOOD, STUBBORN, BROOD], ids=["flooding", "ignores SIGTERM", "many processes"])
def test_a_running_job_ends_cancelled(worker_node: Any, deps: Deps, eventually: Eventually, code: str) -> None:
    job = worker_node.submit(None, {"code": code})
    with worked_on(job, deps):
        eventually(lambda: has_said(worker_node, job), within_s=20.0)
        worker_node.cancel(job)
        cancel(job, deps)

    assert worker_node.job(job)["outcome"] == "cancelled"
    assert deps.sandboxes.count() == 0


def test_the_control_stream_tells_at_once(worker_node: Any, deps: Deps, eventually: Eventually) -> None:
    control = Control(worker_node.redis, worker_node.keys, "n", deps, leave=lambda _destroy: None)
    job = worker_node.submit(None, {"code": STUBBORN})
    with worked_on(job, deps):
        eventually(lambda: has_said(worker_node, job), within_s=20.0)
        worker_node.cancel(job)
        control.read()

    assert worker_node.job(job)["outcome"] == "cancelled"


def test_a_cancel_whose_order_was_lost_is_told_by_the_heartbeat(
    worker_node: Any, deps: Deps, eventually: Eventually
) -> None:
    orders = Orders(cancel=lambda job: cancel(job, deps), disown=lambda job, lease: disown(job, lease, deps))
    job = worker_node.submit(None, {"code": STUBBORN})
    with worked_on(job, deps):
        eventually(lambda: has_said(worker_node, job), within_s=20.0)
        worker_node.cancel(job)
        worker_node.redis.delete(worker_node.keys.control("n"))
        worker_node.node.heartbeat(orders, busy=1, draining=False)

    assert worker_node.job(job)["outcome"] == "cancelled"


def test_a_job_that_is_cancelled_during_its_cold_start_never_starts(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = deps.sandboxes.make

    def make_slowly(*given: Any) -> Any:
        worker_node.cancel(job)
        cancel(job, deps)
        return make(*given)

    monkeypatch.setattr(deps.sandboxes, "make", make_slowly)
    job = worker_node.submit(None, {"code": "print('ran')"})
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "cancelled"
    assert worker_node.job(job).get("runs", "0") == "0"
    assert deps.sandboxes.count() == 0


def test_a_job_parked_behind_its_session_ends_at_once(worker_node: Any, deps: Deps, eventually: Eventually) -> None:
    first = worker_node.submit("s", {"code": STUBBORN})
    parked = worker_node.submit("s", {"code": "print('ran')"})
    with worked_on(first, deps):
        eventually(lambda: has_said(worker_node, first), within_s=20.0)
        worker_node.cancel(parked)
        assert worker_node.job(parked)["outcome"] == "cancelled"
        worker_node.cancel(first)
        cancel(first, deps)

    assert worker_node.job(first)["outcome"] == "cancelled"


def test_a_queued_job_ends_at_once_and_its_wake_up_does_nothing(worker_node: Any, deps: Deps) -> None:
    job = worker_node.submit()
    worker_node.cancel(job)

    assert worker_node.job(job)["outcome"] == "cancelled"
    assert not run_job(job, deps)


@pytest.mark.parametrize(
    ("limits", "code", "limit"),
    [
        ({"timeout_s": 0.5}, "import time; time.sleep(600)", "wall"),
        ({"cpu_s": 0.3}, "while True: pass", "cpu"),
        ({"silence_s": 0.5}, "import time; print('on', flush=True); time.sleep(600)", "silence"),
    ],
)
def test_a_job_ends_at_its_deadline(worker_node: Any, deps: Deps, limits: Any, code: str, limit: str) -> None:
    job = worker_node.submit(None, {"code": code, "limits": limits})
    run_job(job, deps)

    assert (worker_node.result(job)["outcome"], worker_node.result(job)["limit"]) == ("timeout", limit)


def test_a_job_that_has_not_started_goes_back_from_a_draining_node(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = deps.sandboxes.make

    def make_while_a_signal_comes(*given: Any) -> Any:
        deps.is_draining = True
        return make(*given)

    monkeypatch.setattr(deps.sandboxes, "make", make_while_a_signal_comes)
    job = worker_node.submit()
    run_job(job, deps)

    record = worker_node.job(job)
    assert (record["state"], record.get("starts", "0"), record.get("runs", "0")) == ("queued", "0", "0")
    assert float(record["not_before"]) == 0.0
    assert (deps.sandboxes.count(), deps.tracker.held()) == (0, [])
