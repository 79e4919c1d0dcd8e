"""The jobs of a node that Redis does not answer: held, then let go or ended. Real agents under bubblewrap."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.conftest import Eventually

from leasebox.contract.scripts import worker
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.holder import Holder
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.runner import run_job
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.lifecycle.fence import Fence

TICKS = "import time\nwhile True:\n    print('tick', flush=True)\n    time.sleep(0.01)"
BRIEF = "import time\nprint('on', flush=True)\ntime.sleep(1.2)\nprint('end')"


@pytest.fixture
def holder(deps: Deps) -> Holder:
    deps.fence = Fence(60.0)
    return Holder(deps, held_max_s=600.0)


@contextmanager
def running(worker_node: Any, deps: Deps, eventually: Eventually, code: str, **fields: Any) -> Iterator[str]:
    """A job that has said something and runs on in a thread."""
    job = worker_node.submit(None, {"code": code, **fields})
    thread = threading.Thread(target=run_job, args=(job, deps))
    thread.start()
    eventually(lambda: outputs(worker_node, job) > 0, within_s=20.0)
    try:
        yield job
    finally:
        deps.sandboxes.discard_all()
        thread.join(20.0)
        assert not thread.is_alive()


def outputs(worker_node: Any, job: str) -> int:
    entries = worker_node.redis.xrange(worker_node.keys.events(job))
    return sum(fields[b"type"] == b"stdout" for _, fields in entries)


def stands_still(count: Callable[[], int]) -> bool:
    """Whether nothing more comes within half a second."""
    before, pause = count(), threading.Event()
    pause.wait(0.5)
    return count() == before


def test_a_shut_fence_holds_what_runs_and_takes_nothing(
    worker_node: Any, deps: Deps, holder: Holder, eventually: Eventually
) -> None:
    with running(worker_node, deps, eventually, TICKS) as job:
        deps.fence.shut()
        holder.watch()
        eventually(lambda: stands_still(lambda: outputs(worker_node, job)), within_s=10.0)
        assert Pause.FENCED in deps.intake.reasons

        holder.answered(time.monotonic())
        before = outputs(worker_node, job)
        eventually(lambda: outputs(worker_node, job) > before, within_s=10.0)
        assert not deps.intake.reasons


def test_an_answer_to_an_old_heartbeat_lets_nothing_go(
    worker_node: Any, deps: Deps, holder: Holder, eventually: Eventually
) -> None:
    with running(worker_node, deps, eventually, TICKS):
        deps.fence.shut()
        holder.watch()
        holder.answered(time.monotonic() - 61.0)

        assert deps.fence.is_shut
        assert [sandbox.link.is_held for sandbox in deps.sandboxes.all()] == [True]


def test_what_is_not_ours_any_more_is_ended_and_never_goes_on(
    worker_node: Any, deps: Deps, holder: Holder, eventually: Eventually
) -> None:
    with running(worker_node, deps, eventually, TICKS) as job:
        deps.fence.shut()
        holder.watch()
        deps.tracker.forfeit(job, worker_node.job(job)["lease"])
        holder.answered(time.monotonic())

        assert deps.sandboxes.count() == 0


def test_held_time_counts_neither_for_the_guests_nor_for_the_hosts_deadline(
    worker_node: Any, deps: Deps, holder: Holder, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasebox_worker.engine.program.HOST_GRACE_S", 0.2)
    with running(worker_node, deps, eventually, BRIEF, limits={"timeout_s": 2.0}) as job:
        deps.fence.shut()
        holder.watch()
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 2.5)
        holder.answered(time.monotonic())
        eventually(lambda: worker_node.job(job)["state"] == "finished", within_s=20.0)

        result = worker_node.result(job)
        assert (result["outcome"], result["stdout"]) == ("ok", "on\nend\n")
        assert result["usage"]["run_s"] < 2.0


def test_a_job_that_was_held_for_too_long_is_ended(worker_node: Any, deps: Deps, eventually: Eventually) -> None:
    deps.fence = Fence(60.0)
    holder = Holder(deps, held_max_s=0.2)
    with running(worker_node, deps, eventually, TICKS) as job:
        deps.fence.shut()
        holder.watch()
        eventually(lambda: all(sandbox.link.held_s > 0.2 for sandbox in deps.sandboxes.all()))
        holder.watch()
        eventually(lambda: worker_node.job(job)["state"] == "finished", within_s=20.0)

        assert worker_node.job(job)["outcome"] == "lost"


def test_an_agent_that_does_not_confirm_loses_its_sandbox(
    worker_node: Any, deps: Deps, holder: Holder, eventually: Eventually
) -> None:
    with running(worker_node, deps, eventually, TICKS) as job:
        os.kill(agent_of(deps), signal.SIGSTOP)  # a stuck agent
        deps.fence.shut()
        holder.watch()

        assert deps.sandboxes.count() == 0
        eventually(lambda: worker_node.job(job)["outcome"] == "lost", within_s=20.0)


def agent_of(deps: Deps) -> int:
    """The process id on the host of the only sandbox's first process."""
    (sandbox,) = deps.sandboxes.all()
    return sandbox.handle.pid


def test_nothing_is_claimed_while_the_fence_is_shut(
    worker_node: Any, deps: Deps, holder: Holder, eventually: Eventually
) -> None:
    deps.fence.shut()
    holder.watch()
    job = worker_node.submit()
    thread = threading.Thread(target=run_job, args=(job, deps))
    thread.start()
    thread.join(0.5)
    assert worker_node.job(job)["state"] == "queued"

    holder.answered(time.monotonic())
    thread.join(20.0)
    assert worker_node.job(job)["outcome"] == "ok"


def test_a_job_that_was_given_away_between_its_start_and_the_exec_frame_is_not_run(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process was stopped in that moment for so long that others have taken the job."""
    deps.fence = Fence(60.0)
    start = deps.tracker.start

    def start_and_stand_still(work: Any, **given: Any) -> Any:
        go = start(work, **given)
        deps.fence.shut()
        worker_node.runner.run(
            worker.give_up(worker_node.keys, job=work.job, lease=work.lease, why=worker.Why.NODE_LOST)
        )
        threading.Timer(0.2, lambda: deps.fence.open(time.monotonic())).start()
        return go

    sent: list[str] = []
    monkeypatch.setattr(GuestLink, "execute", lambda _link, request, *_: sent.append(request.id))
    monkeypatch.setattr(deps.tracker, "start", start_and_stand_still)
    job = worker_node.submit(None, {"code": "print('ran')"})
    run_job(job, deps)

    assert worker_node.job(job)["outcome"] == "lost"
    assert sent == []
