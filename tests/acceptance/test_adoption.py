"""What a new worker finds again of the one before: its Docker sessions with their files, or a session that is lost."""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.acceptance.conftest import START_WITHIN_S, wait_until_registered, worker_process

from leasebox.client import Client

WAIT_S = 60.0
ENDS_AT_ITS_SECOND_TRY = """
import os, time
print("on", flush=True)
if not os.path.exists("tried"):
    open("tried", "w")
    time.sleep(600)
print(open("f").read())
"""


@pytest.fixture
def server(new_redis, docker_engine, python_image):
    """A server whose installation is this run's, so that its containers can be found and do not survive a failure."""
    made = new_redis()
    made.connect().set("lb:installation", docker_engine.installation)
    yield made
    docker_engine.remove_all()


def containers(docker_engine) -> list[str]:
    wanted = [f"leasebox.installation={docker_engine.installation}"]
    return [c.name for c in docker_engine.client.containers.list(all=True, filters={"label": wanted})]


def pooled(redis) -> set[str]:
    """Names of the never-used sandboxes of node n."""
    lists = list(redis.scan_iter("lb:node:n:pool:*"))
    return {json.loads(text)["name"] for key in lists for text in redis.lrange(key, 0, -1)}


@pytest.mark.docker
@pytest.mark.slow
def test_a_killed_docker_worker_finds_its_sessions_again(server, home: Path, docker_engine, eventually) -> None:
    redis = server.connect()
    client = Client(server.url)
    with worker_process(server.url, home, "docker", "n") as child:
        first = client.run("open('f', 'w').write('kept')", session="idle", wait_s=WAIT_S)
        client.run("open('f', 'w').write('too')", session="busy", wait_s=WAIT_S)
        running = client.submit(ENDS_AT_ITS_SECOND_TRY, session="busy", retries=1, limits={"timeout_s": 600})
        next(e for e in running.events(timeout_s=WAIT_S) if e.type == "stdout")
        alone = client.submit("import time\nprint('on', flush=True)\ntime.sleep(60)")
        next(e for e in alone.events(timeout_s=WAIT_S) if e.type == "stdout")
        pool = eventually(lambda: pooled(redis), within_s=WAIT_S)
        child.kill()
        child.wait()
    with worker_process(server.url, home, "docker", "n"):
        again = client.submit("print(open('f').read())", session="idle")
        after = client.submit("print(open('f').read())", session="busy")
        kinds = [event.type for event in again.events(timeout_s=WAIT_S)]
        left = set(containers(docker_engine))
        ended = redis.hget(f"lb:job:{alone.id}", "sandbox")

        assert (again.result().stdout, again.result().sandbox) == ("kept\n", first.sandbox)
        assert "session_restarted" not in kinds
        retried = running.result(timeout_s=WAIT_S)
        assert (retried.outcome, retried.attempt, retried.stdout) == ("ok", 2, "on\ntoo\n")
        assert after.result(timeout_s=WAIT_S).stdout == "too\n"
        assert alone.result(timeout_s=WAIT_S).outcome == "lost"
        assert {first.sandbox, after.result().sandbox} <= left
        assert ended
        assert json.loads(ended)["name"] not in left
        assert pool & left == pool


@pytest.mark.slow
def test_a_killed_bubblewrap_worker_loses_its_sessions_and_the_next_job_says_so(new_redis, home: Path, bwrap) -> None:
    client = Client(url := new_redis().url)
    with worker_process(url, home, "bubblewrap", "n") as child:
        client.run("open('f', 'w')", session="s", wait_s=WAIT_S)
        child.kill()
        child.wait()
    with worker_process(url, home, "bubblewrap", "n"):
        handle = client.submit("import os; print(os.path.exists('f'))", session="s")
        events = list(handle.events(timeout_s=WAIT_S))

    assert [event.reason for event in events if event.type == "session_restarted"] == ["lost"]
    assert handle.result().stdout == "False\n"


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("on_exit", ["keep", "destroy"])
def test_a_docker_worker_that_was_stopped_leaves_its_idle_sessions_if_it_is_to_keep_them(
    server, home: Path, docker_engine, monkeypatch: pytest.MonkeyPatch, on_exit: str
) -> None:
    monkeypatch.setitem(os.environ, "LEASEBOX_ON_EXIT", on_exit)
    client = Client(server.url)
    with worker_process(server.url, home, "docker", "n") as child:
        wait_until_registered(server.url, "n", child, home / "n.log")
        box = client.run("open('f', 'w').write('kept')", session="s", wait_s=WAIT_S).sandbox
        child.send_signal(signal.SIGTERM)
        child.wait(START_WITHIN_S)
        left = containers(docker_engine)
    with worker_process(server.url, home, "docker", "n"):
        handle = client.submit("import os; print(os.path.exists('f'))", session="s")
        reasons = [e.reason for e in handle.events(timeout_s=WAIT_S) if e.type == "session_restarted"]

        assert child.returncode == 0
        assert on_exit == "keep" or left == []
        assert (box in left, handle.result().stdout, reasons) == (
            (True, "True\n", []) if on_exit == "keep" else (False, "False\n", ["drained"])
        )
