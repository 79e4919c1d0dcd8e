"""How a worker takes leave: by signal, by a second signal, by `leasebox-worker drain`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.acceptance.conftest import START_WITHIN_S, wait_until_registered, worker_process
from tests.acceptance.relay import Relay
from tests.conftest import Eventually, RedisServer

from leasebox.client import Client, JobHandle

pytestmark = pytest.mark.usefixtures("bwrap")

WAIT_S = 60.0
FAST = {
    f"LEASEBOX_TIMERS__{name}": value
    for name, value in {
        "PING_S": "0.5", "DEAD_MAN_S": "3", "FENCE_S": "4.5", "RECLAIM_S": "8", "ADOPT_GRACE_S": "12",
        "HEARTBEAT_S": "1", "RESEND_S": "1", "RESEND_GRACE_S": "2",
    }.items()
}  # fmt: skip
LEAVE_S = 45.0
"""What a worker may take at most beyond its drain timeout, when nobody answers: `tasks.LEAVE_WITHIN_S`,
`tasks.END_WITHIN_S`, and the kill of what runs. Every thread that waits for Redis by itself would take it to 70 s."""


@pytest.fixture
def server(new_redis) -> RedisServer:
    return new_redis()


def started(url: str, seconds: float, **spec: object) -> JobHandle:
    """A job that has said something and takes so long."""
    code = f"import time\nprint('on', flush=True)\ntime.sleep({seconds})\nprint('end')"
    handle = Client(url).submit(code, **spec)
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")
    return handle


def test_a_stopping_worker_finishes_what_runs_and_takes_nothing_new(server, home: Path) -> None:
    with worker_process(server.url, home, "bubblewrap", "n") as child:
        handle = started(server.url, 3.0)
        child.send_signal(signal.SIGTERM)
        waiting = Client(server.url).submit("print(1)")
        assert child.wait(START_WITHIN_S) == 0

    assert (handle.result(timeout_s=1.0).outcome, handle.result().stdout) == ("ok", "on\nend\n")
    assert waiting.status().state == "queued"


@pytest.mark.parametrize("how", ["timeout", "second signal"])
def test_what_runs_too_long_goes_back_when_the_worker_leaves(server, home: Path, how: str) -> None:
    settings = {"LEASEBOX_DRAIN_TIMEOUT_S": "1" if how == "timeout" else "600"}
    with worker_process(server.url, home, "bubblewrap", "n", **settings) as child:
        retried, last = started(server.url, 60.0, retries=1), started(server.url, 60.0)
        child.send_signal(signal.SIGTERM)
        if how == "second signal":
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(4.0)
            child.send_signal(signal.SIGTERM)
        assert child.wait(START_WITHIN_S) == 0

    result = last.result(timeout_s=WAIT_S)
    assert (result.outcome, result.message) == ("lost", "The node that ran the job was drained.")
    assert (retried.status().state, retried.status().attempt) == ("queued", 2)


def drain(server: RedisServer, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"LEASEBOX_URL": server.url, "LEASEBOX_HOME": str(home), "LEASEBOX_TIMERS__RECLAIM_S": "15"}
    command = [sys.executable, "-m", "leasebox_worker.cli", "drain", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S * 1.5, check=False)


def test_drain_asks_a_node_and_shows_how_it_goes(server, home: Path, eventually: Eventually) -> None:
    with worker_process(server.url, home, "bubblewrap", "n") as child:
        handle = started(server.url, 6.0)
        done = drain(server, home, "n", "--destroy")
        assert child.wait(START_WITHIN_S) == 0

    assert (done.returncode, handle.result().outcome) == (0, "ok")
    assert "n is draining, 1 running" in done.stderr
    assert done.stderr.splitlines()[-1] == "n has gone"
    with server.connect() as redis:
        (told,) = [json.loads(fields[b"json"]) for _, fields in redis.xrange("lb:audit")]
    assert (told["action"], told["target"], told["door"], told["actor"]) == ("node.drain", "n", "cli", "local")


def test_a_draining_node_says_so(server, home: Path, eventually: Eventually) -> None:
    with worker_process(server.url, home, "bubblewrap", "n") as child:
        started(server.url, 8.0)
        child.send_signal(signal.SIGTERM)
        (node,) = eventually(
            lambda: [node for node in Client(server.url).nodes() if node.fields["draining"] == "1"], within_s=30
        )
        assert node.name == "n"


def test_a_node_that_is_not_there_cannot_be_drained(server, home: Path) -> None:
    done = drain(server, home, "nobody")

    assert done.returncode == 78
    assert "`leasebox nodes` lists them" in done.stderr


def test_a_worker_that_cannot_reach_redis_leaves_all_the_same(server, home: Path) -> None:
    with worker_process(server.url, home, "bubblewrap", "n", LEASEBOX_DRAIN_TIMEOUT_S="1") as child:
        wait_until_registered(server.url, "n", child, home / "n.log")
        started(server.url, 60.0)
        os.kill(server.pid, signal.SIGKILL)
        child.send_signal(signal.SIGTERM)
        assert child.wait(START_WITHIN_S) == 0


@contextmanager
def hanging(server: RedisServer, relay: Relay, how: str) -> Iterator[None]:
    """Redis takes every request and answers none; what it was sent meanwhile it reads afterwards."""
    if how == "server":
        os.kill(server.pid, signal.SIGSTOP)
    else:
        relay.cut()
    try:
        yield
    finally:
        relay.mend()
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.timeout(300)
@pytest.mark.long
@pytest.mark.parametrize("how", ["server", "way"])
def test_a_worker_whose_redis_hangs_leaves_in_time_and_loses_nothing(server, home: Path, how: str) -> None:
    relay = Relay(server.socket)
    url = server.url if how == "server" else relay.url
    bulk = {"LEASEBOX_SLOTS": "4", "LEASEBOX_INTERACTIVE_SLOTS": "1", "LEASEBOX_DRAIN_TIMEOUT_S": "2"}
    with worker_process(url, home, "bubblewrap", "n", **FAST, **bulk) as child:
        handles = [started(server.url, 6.0, retries=1), started(server.url, 6.0), started(server.url, 1.0, retries=1)]
        handles.append(Client(server.url).submit("print('end')"))
        with hanging(server, relay, how):
            child.send_signal(signal.SIGTERM)
            assert child.wait(2.0 + LEAVE_S) == 0
            assert list((home / "sandboxes" / "bubblewrap").glob("lb-*")) == []
    with worker_process(server.url, home, "bubblewrap", "m", **FAST):
        results = [handle.result(timeout_s=2 * WAIT_S) for handle in handles]

    relay.close()
    assert [result.outcome for result in results] == ["ok", "lost", "ok", "ok"]
    assert (results[0].attempt, results[0].node, results[0].stdout) == (2, "m", "on\nend\n")
