"""What a worker's comings and goings do to jobs and sandboxes."""

import signal
import subprocess
from pathlib import Path

import pytest
from tests.acceptance.conftest import START_WITHIN_S, wait_until_registered, worker_process
from tests.conftest import Eventually

from leasebox.client import Client

WAIT_S = 60.0


def test_a_job_submitted_while_no_worker_runs_waits_for_one(new_redis, home: Path, bwrap) -> None:
    url = new_redis().url
    handle = Client(url).submit("print('at last')")

    with worker_process(url, home, "bubblewrap", "late"):
        assert handle.result(timeout_s=WAIT_S).stdout == "at last\n"


def test_sigterm_ends_the_worker_and_all_its_sandboxes(new_redis, home: Path, bwrap, eventually: Eventually) -> None:
    url = new_redis().url
    client = Client(url)
    with worker_process(url, home, "bubblewrap", "n") as child:
        client.run("open('f', 'w')", session="s", wait_s=WAIT_S)
        child.send_signal(signal.SIGTERM)
        child.wait(START_WITHIN_S)

    assert child.returncode == 0
    assert not [path for path in (home / "sandboxes").rglob("*") if path.is_dir() and path.name.startswith("lb-")]
    assert str(home) not in Path("/proc/mounts").read_text()


def test_a_worker_that_left_for_good_leaves_no_key_of_its_name(new_redis, home: Path, bwrap) -> None:
    server, name = new_redis(), "left-for-good"
    with worker_process(server.url, home, "bubblewrap", name) as child:
        Client(server.url).run("pass", wait_s=WAIT_S)
        child.send_signal(signal.SIGTERM)
        child.wait(START_WITHIN_S)

    with server.connect() as redis:
        assert [key for key in redis.scan_iter() if name.encode() in key] == []


@pytest.mark.parametrize("word", ["protection_missing", "node_registered"])
def test_sigterm_while_a_worker_starts_ends_it_and_all_that_it_has_made(
    new_redis, home: Path, bwrap, eventually: Eventually, word: str
) -> None:
    log = home / "n.log"
    with worker_process(new_redis().url, home, "bubblewrap", "n") as child:
        eventually(lambda: log.exists() and word in log.read_text(), START_WITHIN_S)
        child.send_signal(signal.SIGTERM)
        child.wait(START_WITHIN_S)

    assert child.returncode == 0, log.read_text()
    assert not [path for path in (home / "sandboxes").rglob("*") if path.is_dir() and path.name.startswith("lb-")]
    assert str(home) not in Path("/proc/mounts").read_text()


def test_a_job_of_a_killed_worker_is_told_lost_by_its_successor(new_redis, home: Path, bwrap) -> None:
    url = new_redis().url
    handle = Client(url).submit("import time\nprint('on', flush=True)\ntime.sleep(60)")
    with worker_process(url, home, "bubblewrap", "n") as child:
        next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        child.kill()
        child.wait()

    with worker_process(url, home, "bubblewrap", "n"):
        result = handle.result(timeout_s=WAIT_S)

    assert (result.outcome, result.attempt) == ("lost", 1)


def test_a_job_with_retries_runs_again_after_its_worker_was_killed(new_redis, home: Path, bwrap) -> None:
    url = new_redis().url
    code = "import sys, time\nprint('on', flush=True)\ntime.sleep(3)\nprint('end')"
    handle = Client(url).submit(code, retries=1)
    with worker_process(url, home, "bubblewrap", "n") as child:
        next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        child.kill()
        child.wait()

    with worker_process(url, home, "bubblewrap", "n"):
        kinds = [e.type for e in handle.events(timeout_s=WAIT_S)]

    assert kinds.count("retried") == 1
    assert (handle.result().outcome, handle.result().attempt) == ("ok", 2)


def test_a_second_worker_of_the_same_name_and_folder_is_refused(new_redis, home: Path, bwrap) -> None:
    url = new_redis().url
    with worker_process(url, home, "bubblewrap", "n") as first:
        wait_until_registered(url, "n", first, home / "n.log")
        with worker_process(url, home, "bubblewrap", "n") as second:
            try:
                code = second.wait(START_WITHIN_S)
            except subprocess.TimeoutExpired:
                pytest.fail("the second worker went on")

        assert code == 78
        assert Client(url).run("print(1)", wait_s=WAIT_S).stdout == "1\n"
