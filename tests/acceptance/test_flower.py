"""What does Flower show of jobs, and to whom? A real Flower with our options, beside a live system."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from tests.acceptance.conftest import FLOWER_OPTIONS, Live, flower_process
from tests.conftest import Eventually

from leasebox.client import Client

WITHIN_S = 60.0
HOLDS = "import time\nprint('on', flush=True)\ntime.sleep(600)"

_IS_WATCHED = pytest.StashKey[bool]()
pytestmark = [pytest.mark.parametrize("live", ["bubblewrap"], indirect=True), pytest.mark.slow]


@pytest.fixture(scope="module")
def flower(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a Flower that watches the live system."""
    with flower_process(live.url, tmp_path_factory.mktemp("flower")) as client:
        yield client


@pytest.fixture
def shown(flower: httpx2.Client, eventually: Eventually) -> Callable[[str, str], dict[str, Any]]:
    """Waits until Flower shows a job in a state, and answers all that it says of it."""

    def wait(job: str, state: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            try:
                answer = flower.get(f"/api/task/info/{job}")
            except httpx2.TransportError:
                return None
            return answer.json() if answer.status_code == 200 and answer.json()["state"] == state else None

        return eventually(look, WITHIN_S)

    return wait


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest, client: Client, shown: Callable[[str, str], dict[str, Any]]) -> None:
    """Let Flower be there, and have asked for events, before a test's own jobs: it shows what runs already."""
    if request.session.stash.get(_IS_WATCHED, False):
        return
    job = client.submit(HOLDS)
    shown(job.id, "STARTED")
    job.cancel()
    request.session.stash[_IS_WATCHED] = True


def test_a_job_shows_under_its_own_id_with_outcome_run_time_and_worker(client: Client, shown) -> None:
    well = client.submit("import time\ntime.sleep(0.3)", session="f-1")
    badly = client.submit("raise SystemExit(3)")

    found = shown(well.id, "SUCCESS")
    assert (found["name"], found["args"], found["result"]) == ("leasebox.execute", "python 2 lines", "ok")
    assert found["kwargs"] == "tenant=default session=f-1"
    assert found["worker"] == "celery@live-bubblewrap"
    assert 0.3 <= found["runtime"] <= found["succeeded"] - found["sent"]
    assert found["sent"] <= found["received"] <= found["started"] <= found["succeeded"]
    assert shown(badly.id, "SUCCESS")["result"] == "error, exit code 3"


def test_jobs_that_wait_that_a_thread_continued_with_and_that_ended_in_line_show_truly(client: Client, shown) -> None:
    first = client.submit("input()", session="f-2", stdin_open=True)
    shown(first.id, "STARTED")
    continued = client.submit("print(2)", session="f-2")
    cancelled = client.submit("print(3)", session="f-2")
    late = client.submit("print(4)", session="f-2", expires_in_s=0.5)

    assert shown(continued.id, "PENDING")["started"] is None
    assert shown(late.id, "REVOKED")["result"] == "expired"
    cancelled.cancel()
    assert shown(cancelled.id, "REVOKED")["result"] == "cancelled"
    first.write_stdin("\n")
    found = shown(continued.id, "SUCCESS")
    assert found["runtime"] < found["succeeded"] - found["sent"]
    assert shown(first.id, "SUCCESS")["result"] == "ok"


def test_a_running_job_that_is_cancelled_shows_as_revoked(client: Client, shown) -> None:
    job = client.submit(HOLDS)
    shown(job.id, "STARTED")
    job.cancel()

    assert shown(job.id, "REVOKED")["result"] == "cancelled"


def test_a_job_that_was_rejected_shows_as_failed(client: Client, shown) -> None:
    job = client.submit("print(1)", files={"a": "", "a/b": ""})

    assert shown(job.id, "FAILURE")["exception"] == "rejected"


def test_nothing_that_a_job_brings_or_writes_is_in_flower(client: Client, flower: httpx2.Client, shown) -> None:
    job = client.submit(
        "print('word-of-the-output', flush=True)  # word-of-the-code",
        env={"A": "word-of-the-environment"}, files={"word-of-a-path": "word-of-a-file"}, stdin="word-of-the-input",
        args=["word-of-the-arguments"], metadata={"note": "word-of-the-metadata"}, session="f-4",
    )  # fmt: skip
    shown(job.id, "SUCCESS")

    pages = [
        f"/task/{job.id}",
        "/tasks",
        "/api/tasks",
        f"/api/task/result/{job.id}",
        "/api/workers?refresh=1",
        "/metrics",
    ]
    seen = "".join(flower.get(page).text for page in pages)
    assert job.id in seen
    assert re.findall("word-of-[a-z-]+", seen) == []


def test_flower_shows_workers_and_counts_jobs_for_prometheus(
    client: Client, flower: httpx2.Client, shown, eventually: Eventually
) -> None:
    shown(client.submit("print(1)").id, "SUCCESS")
    worker = 'worker="celery@live-bubblewrap"'

    eventually(lambda: f"flower_worker_online{{{worker}}} 1.0" in flower.get("/metrics").text, WITHIN_S)
    counted = r'flower_task_runtime_seconds_count{task="leasebox.execute",worker="celery@live-bubblewrap"} [1-9]'
    assert re.search(counted, flower.get("/metrics").text)
    said = eventually(
        lambda: flower.get("/api/workers?refresh=1").json()["celery@live-bubblewrap"].get("stats"), WITHIN_S
    )
    assert said["pool"]["max-concurrency"] >= 4


def test_who_has_no_account_sees_nothing_and_who_has_one_changes_nothing(
    client: Client, flower: httpx2.Client, shown
) -> None:
    job = client.submit(HOLDS, session="f-5")
    shown(job.id, "STARTED")

    for page in ("/", "/tasks", "/api/tasks", "/api/workers", f"/api/task/info/{job.id}"):
        assert httpx2.get(f"{flower.base_url}".rstrip("/") + page).status_code == 401, page
    for path in (
        f"/api/task/revoke/{job.id}?terminate=true", "/api/worker/shutdown/celery@live-bubblewrap",
        "/api/task/async-apply/leasebox.execute",
    ):  # fmt: skip
        assert flower.post(path, json={"args": [job.id]}).status_code == 403, path
    assert job.status().state == "running"
    job.cancel()


def test_flower_does_not_start_without_an_account(live: Live) -> None:
    command = [sys.executable, "-m", "celery", "flower", f"--conf={FLOWER_OPTIONS}"]
    ended = subprocess.run(command, env={"LEASEBOX_URL": live.url}, capture_output=True, text=True, timeout=60)

    assert ended.returncode != 0
    assert "set FLOWER_BASIC_AUTH" in ended.stderr
