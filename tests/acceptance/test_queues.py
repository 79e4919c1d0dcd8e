"""What becomes of jobs whose messages are revoked, purged or lost? A real worker, and Celery as others use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.result import AsyncResult
from tests.acceptance.conftest import wait_until_registered, worker_process

from leasebox.client import Client
from leasebox.contract.queues import consumed_by

WAIT_S = 90.0
FAST_REPAIR = {
    "LEASEBOX_TIMERS__RESEND_S": "0.5",
    "LEASEBOX_TIMERS__RESEND_GRACE_S": "1",
    "LEASEBOX_SLOTS": "3",
}
FOR_EVER = "import time\nprint('on', flush=True)\ntime.sleep(600)"


@pytest.fixture
def url(new_redis, home: Path, bwrap) -> Iterator[str]:
    """A server with a worker of three slots."""
    url = new_redis().url
    with worker_process(url, home, "bubblewrap", "n", **FAST_REPAIR) as child:
        wait_until_registered(url, "n", child, home / "n.log")
        yield url


@pytest.fixture
def celery_app(url: str) -> Celery:
    """Any program's own app on the same Redis."""
    return Celery("other", broker=url, backend=url)


def test_an_interactive_job_starts_though_hundreds_of_batch_jobs_wait(url: str) -> None:
    with Client(url) as client:
        batch = [client.submit(FOR_EVER, priority="batch") for _ in range(200)]

        assert client.run("print(1)", priority="interactive", wait_s=WAIT_S).outcome == "ok"
        assert sum(handle.status().state in {"starting", "running"} for handle in batch) == 2
        for handle in reversed(batch):
            handle.cancel()


def test_a_job_revoked_as_flower_does_it_ends_cancelled(url: str, celery_app: Celery, eventually) -> None:
    with Client(url) as client:
        runs = client.submit(FOR_EVER)
        next(e for e in runs.events(timeout_s=WAIT_S) if e.type == "stdout")
        waits = client.submit(FOR_EVER, session="s")
        behind = client.submit("print(1)", session="s")
        next(e for e in waits.events(timeout_s=WAIT_S) if e.type == "stdout")
        celery_app.control.revoke([runs.id], terminate=True, signal="SIGTERM")
        celery_app.control.revoke([behind.id])
        AsyncResult(waits.id, app=celery_app).revoke(terminate=True)

        for handle in (runs, waits, behind):
            assert handle.result(timeout_s=WAIT_S).outcome == "cancelled"


def test_jobs_whose_messages_were_purged_run_all_the_same(url: str, celery_app: Celery) -> None:
    with Client(url) as client:
        blockers = [client.submit(FOR_EVER) for _ in range(2)]
        for handle in blockers:
            next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        waiting = [client.submit(f"print({n})", priority="batch") for n in range(10)]
        with celery_app.connection_for_write() as connection:
            purged = sum(connection.default_channel.queue_purge(queue) or 0 for queue in consumed_by("n"))
        for handle in blockers:
            handle.cancel()

        assert purged >= 10
        assert [handle.result(timeout_s=WAIT_S).stdout for handle in waiting] == [f"{n}\n" for n in range(10)]
