"""Is what is told of a sandbox what its host sees, whatever runs in it?"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.conftest import Eventually

from leasebox.contract.metrics import Health, SandboxMetrics
from leasebox_worker.egress.door import Traffic
from leasebox_worker.engine.counts import Carried, Sample
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.measure import LONGEST_S, SHORTEST_S, Measurer, cpu_percent
from leasebox_worker.engine.runner import run_job

MIB = 1 << 20
SPIN = "open('f', 'wb').write(bytes(3 << 20))\nprint('began', flush=True)\nwhile True: pass"
KEPT = "open('f', 'wb').write(bytes(3 << 20))"


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [
        (None, Sample(1.0, 1.0), None),
        (Sample(0.0, 1.0), Sample(SHORTEST_S / 2, 1.0), None),
        (Sample(0.0, 1.0), Sample(LONGEST_S + 1, 1.0), None),
        (Sample(0.0, 1.0), Sample(2.0, 1.0), 0.0),
        (Sample(0.0, 1.0), Sample(2.0, 2.0), 50.0),
        (Sample(0.0, 1.0), Sample(1.0, 3.0), 200.0),
        (Sample(0.0, 1.0), Sample(1.0, 0.5), 0.0),  # without a cgroup, what ended is missing
    ],
)
def test_a_share_is_that_of_the_time_between_two_looks(before: Any, now: Sample, percent: float | None) -> None:
    assert cpu_percent(before, now) == percent


def test_a_door_counts_once_while_it_is_open_and_after() -> None:
    class Open:
        traffic = Traffic(5, 7)

    carried = Carried(Traffic(1, 2)).through(Open())  # type: ignore[arg-type]
    during, after = carried.total, carried.shut(Traffic(6, 8)).total

    assert (during.bytes_in, during.bytes_out) == (6, 9)
    assert (after.bytes_in, after.bytes_out) == (7, 10)


@contextmanager
def running(job: str, deps: Deps) -> Iterator[None]:
    """A job under way in a thread; it is cancelled at the end of the block."""
    thread = threading.Thread(target=run_job, args=(job, deps))
    thread.start()
    try:
        yield
    finally:
        deps.running.cancel(job, 0.1)
        thread.join(30)
    assert not thread.is_alive()


def measured(worker_node: Any, deps: Deps, session: str) -> SandboxMetrics:
    sandbox = deps.sandboxes.named(worker_node.session(session)["sandbox"])
    assert sandbox is not None
    return Measurer(deps.sandboxes, lambda *_: None).measure(sandbox)


def test_a_running_job_is_measured_and_not_disturbed(worker_node: Any, deps: Deps, eventually: Eventually) -> None:
    job = worker_node.submit("s", {"code": SPIN})
    with running(job, deps):
        eventually(lambda: b"began" in str(worker_node.redis.xrange(worker_node.keys.events(job))).encode(), 20.0)
        first = measured(worker_node, deps, "s")
        eventually(lambda: measured(worker_node, deps, "s").cpu_percent > 1, 20.0)  # a busy machine may leave it little
        last = measured(worker_node, deps, "s")
        assert worker_node.job(job)["state"] == "running"

    assert last.cpu_s > first.cpu_s
    assert first.processes >= 2
    assert first.memory_bytes > 3 * MIB
    assert (first.health, first.health_failures) == (Health.HEALTHY, 0)
    if os.geteuid() == 0:  # the workspace of a rootless sandbox cannot be seen from outside
        assert 3 * MIB <= first.disk_bytes < 4 * MIB


def test_an_idle_sandbox_uses_no_processor_and_keeps_what_it_holds(worker_node: Any, deps: Deps) -> None:
    run_job(worker_node.submit("s", {"code": KEPT}), deps)
    measured(worker_node, deps, "s")
    found = measured(worker_node, deps, "s")

    assert found.cpu_percent < 20
    assert found.cpu_s > 0
    assert 3 * MIB <= found.disk_bytes < 4 * MIB
    assert found.memory_peak_bytes >= found.memory_bytes > 0


def test_where_the_host_cannot_look_the_last_job_tells_how_full_the_disk_is(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasebox_worker.drivers.workspace.used_bytes", lambda _pid: None)
    run_job(worker_node.submit("s", {"code": KEPT}), deps)

    assert 3 * MIB <= measured(worker_node, deps, "s").disk_bytes < 4 * MIB


def test_an_order_is_answered_once_and_one_for_a_foreign_sandbox_never(
    worker_node: Any, deps: Deps, eventually: Eventually
) -> None:
    told: list[tuple[str, str, str]] = []
    go_on = threading.Event()

    def tell(*given: str) -> None:
        go_on.wait(10)
        told.append(given)

    run_job(worker_node.submit("s", {"code": "pass"}), deps)
    text = worker_node.session("s")["sandbox"]
    measurer = Measurer(deps.sandboxes, tell)
    measurer.ask("acme/x", json.dumps({"name": "lb-foreign"}))
    for _ in range(5):
        measurer.ask("acme/s", text)
    go_on.set()
    eventually(lambda: told, within_s=20.0)
    measurer.ask("acme/s", text)
    eventually(lambda: len(told) > 1, within_s=20.0)

    assert [(line, sandbox) for line, sandbox, _ in told] == [("acme/s", text)] * 2
    assert SandboxMetrics.model_validate_json(told[0][2]).health is Health.HEALTHY
