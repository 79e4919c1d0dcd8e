"""What an application sees of a session, on a live system with each driver."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.acceptance.conftest import Live, worker_process
from tests.conftest import Eventually

from leasebox.client import Client
from leasebox.contract import errors

pytestmark = pytest.mark.slow
WAIT_S = 60.0
SLEEPER = "import time\nprint('on', flush=True)\ntime.sleep(60)"


def leasebox(live: Live, *words: str) -> "subprocess.CompletedProcess[str]":
    """Type a command."""
    command = [sys.executable, "-m", "leasebox.cli", *words]
    return subprocess.run(command, env=live.environment(), capture_output=True, text=True, check=False, timeout=60)


def _sleep_until_started(client: Client, session: str) -> None:
    handle = client.submit(SLEEPER, session=session)
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")


def test_the_jobs_of_a_session_share_files_and_its_environment(client: Client) -> None:
    with client.session(env={"NAME": "box"}) as box:
        box.run("import os; open('f', 'w').write(os.environ['NAME'])", check=True, wait_s=WAIT_S)
        result = box.run("print(open('f').read())", wait_s=WAIT_S)

        assert result.stdout == "box\n"
        assert (box.info().executions, box.info().last_exit_code, box.info().generation) == (2, 0, 1)

    assert box.info().close_reason == "closed"


def test_an_idle_session_is_gone_within_its_sweep_period_and_says_why(
    live: Live, client: Client, eventually: Eventually
) -> None:
    session = client.session(idle_timeout_s=2)
    sandbox = session.run("open('f', 'w')", check=True, wait_s=WAIT_S).sandbox
    assert sandbox is not None

    eventually(lambda: session.info().state == "closed", within_s=20)

    info = session.info()
    assert info.close_reason == "idle"
    assert info.closed_at is not None
    assert info.closed_at - info.used_at >= 2
    shown = leasebox(live, "sessions", "show", session.name)
    assert "It ended after 2 seconds without activity." in shown.stdout
    assert json.loads(leasebox(live, "sessions", "show", session.name, "--json").stdout)["close_reason"] == "idle"
    assert session.name not in leasebox(live, "sessions", "list").stdout
    with pytest.raises(errors.SessionExpired, match="after 2 seconds without activity"):
        client.session(session.name, must_exist=True)


def test_a_job_after_the_end_starts_afresh_and_says_so(client: Client, eventually: Eventually) -> None:
    session = client.session(idle_timeout_s=0.1)
    session.run("open('f', 'w')", check=True, wait_s=WAIT_S)
    eventually(lambda: session.info().state == "closed", within_s=20)

    handle = session.submit("import os; print(os.path.exists('f'))")
    events = list(handle.events(timeout_s=WAIT_S))

    assert [event.reason for event in events if event.type == "session_restarted"] == ["idle"]
    assert handle.result().stdout == "False\n"
    assert session.info().generation == 2
    session.close()


def test_jobs_that_come_around_the_sweep_never_fail(client: Client) -> None:
    # The sweep of these systems runs each second, so that some of these jobs meet it.
    session = client.session(idle_timeout_s=0.05)
    deadline = time.monotonic() + 3
    outcomes = set()
    while time.monotonic() < deadline:
        outcomes.add(session.run("pass", wait_s=WAIT_S).outcome)

    assert outcomes == {"ok"}
    session.close()


def test_touch_keeps_a_session_alive(client: Client, eventually: Eventually) -> None:
    session = client.session(idle_timeout_s=2)
    other = client.session(idle_timeout_s=2)
    for box in (session, other):
        box.run("open('f', 'w')", check=True, wait_s=WAIT_S)

    eventually(lambda: session.touch() and other.info().state == "closed", within_s=30)

    assert session.run("open('f')", wait_s=WAIT_S).outcome == "ok"
    session.close()


def test_a_busy_session_is_not_idle(client: Client) -> None:
    session = client.session(idle_timeout_s=0.2)

    result = session.run("import time; time.sleep(3); print('end')", wait_s=WAIT_S)

    assert (result.outcome, result.stdout) == ("ok", "end\n")
    session.close()


def test_at_its_greatest_age_a_session_with_waiting_jobs_goes_on_in_a_new_sandbox(client: Client) -> None:
    session = client.session(max_age_s=1)
    first = session.submit("import time; open('f', 'w'); time.sleep(2)")
    second = session.submit("import os; print(os.path.exists('f'))")

    events = list(second.events(timeout_s=WAIT_S))

    assert first.result().outcome == "ok"
    assert [event.reason for event in events if event.type == "session_restarted"] == ["max_age"]
    assert second.result().stdout == "False\n"
    session.close()


def test_at_its_greatest_age_a_session_without_jobs_ends(client: Client, eventually: Eventually) -> None:
    session = client.session(max_age_s=1)
    session.run("pass", wait_s=WAIT_S)

    eventually(lambda: session.info().close_reason == "max_age", within_s=20)


def test_close_ends_what_runs_and_what_waits(client: Client, eventually: Eventually) -> None:
    session = client.session()
    running = session.submit(SLEEPER)
    waiting = [session.submit("print(1)") for _ in range(3)]
    next(event for event in running.events(timeout_s=WAIT_S) if event.type == "stdout")

    assert session.close().state == "closing"

    assert running.result(timeout_s=WAIT_S).outcome == "cancelled"
    assert {job.result(timeout_s=WAIT_S).outcome for job in waiting} == {"cancelled"}
    eventually(lambda: session.info().state == "closed", within_s=20)


def test_fifty_jobs_at_once_run_in_order(client: Client) -> None:
    with client.session() as session:
        code = "import sys; open('order', 'a').write(sys.argv[1] + ' ')"
        handles = [session.submit(code, args=[str(n)]) for n in range(50)]

        assert {handle.result(timeout_s=WAIT_S).outcome for handle in handles} == {"ok"}
        assert session.run("print(open('order').read())", wait_s=WAIT_S).stdout.split() == [str(n) for n in range(50)]


def test_a_job_that_waits_too_long_expires_and_the_others_go_on(client: Client, live: Live) -> None:
    session = client.session()
    _sleep_until_started(client, session.name)
    late = session.submit("print(1)", expires_in_s=1)
    after = session.submit("print(2)")

    assert f"It waits in session {session.name} behind job" in leasebox(live, "status", after.id).stdout
    result = late.result(timeout_s=WAIT_S)

    assert (result.outcome, result.message) == ("expired", "The job was not started before it expired.")
    assert after.status().state == "queued"
    session.close()
    assert after.result(timeout_s=WAIT_S).message == "The session was closed before the job could run."


def test_an_operators_sweep_ends_what_is_due_now(live: Live, client: Client, eventually: Eventually) -> None:
    session = client.session(idle_timeout_s=0.01)
    session.run("pass", wait_s=WAIT_S)
    command = [sys.executable, "-m", "leasebox_worker.cli", "sweep"]

    done = subprocess.run(command, env=live.environment(), capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr
    ended = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert all(line.endswith("\tidle") for line in done.stdout.splitlines())
    told = [json.loads(fields[b"json"]) for _, fields in live.redis().xrange("lb:audit")]
    assert [f"{one['tenant']}/{one['target']}" for one in told if one["action"] == "session.sweep"] == ended
    eventually(lambda: session.info().close_reason == "idle", within_s=20)


def test_a_retried_job_tells_its_attempts_and_why(new_redis, home: Path, bwrap, eventually: Eventually) -> None:
    url = new_redis().url
    client = Client(url)
    handle = client.submit("import time\nprint('on', flush=True)\ntime.sleep(3)\nprint('end')", session="s", retries=1)
    with worker_process(url, home, "bubblewrap", "n") as child:
        next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        child.kill()
        child.wait()
    assert handle.status().attempt == 1

    with worker_process(url, home, "bubblewrap", "n"):
        eventually(lambda: handle.status().attempt == 2, within_s=WAIT_S)
        events = list(handle.events(timeout_s=WAIT_S))

    (retried,) = [event for event in events if event.type == "retried"]
    assert (retried.attempt, retried.reason) == (2, "restarted")
    assert [event.attempt for event in events if event.type == "started"] == [1, 2]
    assert [event.reason for event in events if event.type == "session_restarted"] == ["lost"]
    assert handle.result().attempt == 2


def test_a_job_whose_session_must_exist_does_not_start_without_its_files(
    new_redis, home: Path, bwrap, eventually: Eventually
) -> None:
    url = new_redis().url
    client = Client(url)
    with worker_process(url, home, "bubblewrap", "n") as child:
        client.run("open('f', 'w')", session="s", check=True, wait_s=WAIT_S)
        child.kill()
        child.wait()
    handle = client.submit("open('f')", session="s", session_must_exist=True)

    with worker_process(url, home, "bubblewrap", "n"):
        result = handle.result(timeout_s=WAIT_S)

    assert result.outcome == "lost"
    with pytest.raises(errors.SessionExpired):
        result.raise_for_outcome()
    assert "started" not in [event.type for event in handle.events()]
    assert client.session("s").info().lost_reason == "lost"


def test_a_worker_publishes_what_its_operator_allows(client: Client) -> None:
    assert {queue.max_jobs for queue in client.queues()} == {100_000}
