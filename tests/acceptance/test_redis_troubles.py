"""What do jobs see of a Redis that is cut off, killed, hangs or is full?"""

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis as redis_py
from tests.acceptance.conftest import wait_until_registered, worker_process
from tests.conftest import Eventually
from tests.relay import Relay

from leasebox.client import Client
from leasebox.contract.errors import QueueFull

WAIT_S = 90.0
AWAY_S = 2.0
"""Longer than any single try of a client takes."""
BLOCK = 64 << 10
FLOOD = f"import sys\nfor n in range(800): sys.stdout.buffer.write(bytes([n % 251]) * {BLOCK})"
SLOWLY = "import time\nfor n in range(160):\n    print(n, flush=True)\n    time.sleep(0.05)"
SLOWLY_SAID = b"".join(b"%d\n" % n for n in range(160))
READS = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
FAST_REPAIR = {"LEASEBOX_TIMERS__RESEND_S": "0.5", "LEASEBOX_TIMERS__RESEND_GRACE_S": "2"}


@contextmanager
def running(url: str, home: Path) -> Iterator[Client]:
    """A worker whose start, which ends without Redis, is over, and a client with a way of its own."""
    direct = f"redis+socket://{home / 's'}"
    with worker_process(url, home, "bubblewrap", "n", **FAST_REPAIR) as child:
        wait_until_registered(direct, "n", child, home / "n.log")
        with Client(direct) as client:
            assert client.run("pass", wait_s=WAIT_S).outcome == "ok"
            yield client


def _redis(home: Path) -> redis_py.Redis:
    return redis_py.Redis(unix_socket_path=str(home / "s"))


def _entries(home: Path, job: str) -> list[tuple[bytes, bytes, bytes]]:
    """Id, type and data of every event, as they stand in Redis."""
    found = _redis(home).xrange(f"lb:job:{job}:events")
    return [(entry, fields[b"type"], fields.get(b"data", b"")) for entry, fields in found]


def _assert_whole(entries: list[tuple[bytes, bytes, bytes]], said: bytes) -> None:
    ids = [tuple(int(part) for part in entry.split(b"-")) for entry, _, _ in entries]
    kinds = [kind for _, kind, _ in entries]

    assert b"".join(data for _, kind, data in entries if kind == b"stdout") == said
    assert ids == sorted(set(ids))
    assert (kinds.count(b"started"), kinds.count(b"finished"), kinds[-1]) == (1, 1, b"finished")


def test_fifty_megabytes_pass_whole_through_a_way_that_is_cut_at_random(durable, home: Path, bwrap) -> None:
    relay = Relay(home / "s", seed=7)
    with running(relay.url, home) as client:
        relay.cut_rate = 0.02
        handle = client.submit(FLOOD)
        result = handle.result(timeout_s=WAIT_S)
        relay.cut_rate = 0.0

        assert (result.outcome, result.attempt) == ("ok", 1)
        _assert_whole(_entries(home, handle.id), b"".join(bytes([n % 251]) * BLOCK for n in range(800)))
        assert relay.cuts >= 10
    relay.close()


@pytest.mark.long
def test_live_input_passes_whole_and_once_through_a_way_that_is_cut_at_random(durable, home: Path, bwrap) -> None:
    relay = Relay(home / "s", seed=11)
    lines = [f"{n} {'x' * 4000}\n" for n in range(2000)]
    with running(relay.url, home) as client:
        relay.cut_rate = 0.1
        handle = client.submit(READS, stdin_open=True)
        for line in lines:
            handle.write_stdin(line)
        handle.close_stdin()
        result = handle.result(timeout_s=WAIT_S)
        relay.cut_rate = 0.0

        assert (result.outcome, result.stdout.strip()) == ("ok", hashlib.sha256("".join(lines).encode()).hexdigest())
        assert relay.cuts >= 10
    relay.close()


def test_a_way_that_falls_silent_is_left_for_another(durable, home: Path, bwrap) -> None:
    relay = Relay(home / "s")
    with running(relay.url, home) as client:
        handle = client.submit(SLOWLY)
        next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        relay.lose_all()

        assert handle.result(timeout_s=WAIT_S).outcome == "ok"
        _assert_whole(_entries(home, handle.id), SLOWLY_SAID)
        assert client.run("print('alive')", wait_s=WAIT_S).stdout == "alive\n"
    relay.close()


def test_a_server_that_is_killed_and_started_again_costs_no_job_anything(durable, home: Path, bwrap) -> None:
    with running(f"redis+socket://{home / 's'}", home) as client:
        handle = client.submit(SLOWLY)
        next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        for _ in range(2):
            os.kill(int(_redis(home).info("server")["process_id"]), signal.SIGKILL)
            durable.terminate()
            threading.Event().wait(AWAY_S)
            durable.start()

        assert handle.result(timeout_s=WAIT_S).outcome == "ok"
        _assert_whole(_entries(home, handle.id), SLOWLY_SAID)
        assert client.run("print('alive')", wait_s=WAIT_S).stdout == "alive\n"


def test_a_server_that_goes_and_comes_while_a_worker_starts_costs_it_nothing(
    durable, home: Path, bwrap, eventually: Eventually
) -> None:
    url, log = f"redis+socket://{home / 's'}", home / "n.log"
    with worker_process(url, home, "bubblewrap", "n") as child:
        eventually(lambda: log.exists() and "protection_missing" in log.read_text(), WAIT_S)
        durable.terminate()
        threading.Event().wait(AWAY_S)
        durable.start()
        wait_until_registered(url, "n", child, log)
        with Client(url) as client:
            assert client.run("print('alive')", wait_s=WAIT_S).stdout == "alive\n"


def test_a_server_that_stays_away_ends_a_start_with_a_sentence(durable, home: Path, bwrap, eventually) -> None:
    log = home / "n.log"
    with worker_process(f"redis+socket://{home / 's'}", home, "bubblewrap", "n") as child:
        eventually(lambda: log.exists() and "protection_missing" in log.read_text(), WAIT_S)
        durable.terminate()
        status = child.wait(WAIT_S)

    assert status == 1
    assert log.read_text().splitlines()[-1].startswith("leasebox-worker: no Redis answers: ")
    assert "Traceback" not in log.read_text()


def test_a_server_that_hangs_for_longer_than_the_timeouts_costs_no_job_anything(durable, home: Path, bwrap) -> None:
    with running(f"redis+socket://{home / 's'}", home) as client:
        handle = client.submit(SLOWLY)
        next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        pid = int(_redis(home).info("server")["process_id"])
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(7.0, os.kill, (pid, signal.SIGCONT)).start()

        assert handle.result(timeout_s=WAIT_S).outcome == "ok"
        _assert_whole(_entries(home, handle.id), SLOWLY_SAID)
        assert client.run("print('alive')", wait_s=WAIT_S).stdout == "alive\n"


@pytest.mark.long
def test_killed_connections_lose_and_double_no_job(durable, home: Path, bwrap, eventually: Eventually) -> None:
    with running(f"redis+socket://{home / 's'}", home) as client:
        redis = _redis(home)
        handles = [client.submit(f"print({n})") for n in range(60)]

        def are_all_done() -> bool:
            for connection in redis.client_list():
                if connection["name"] != "leasebox-client" and connection["cmd"] != "client|list":
                    redis.client_kill_filter(_id=connection["id"])
            threading.Event().wait(0.2)  # between two blows, something must get through
            return all(redis.hget(f"lb:job:{handle.id}", "state") == b"finished" for handle in handles)

        eventually(are_all_done, WAIT_S)
        for number, handle in enumerate(handles):
            assert handle.result(timeout_s=WAIT_S).outcome == "ok"
            _assert_whole(_entries(home, handle.id), b"%d\n" % number)


def test_a_full_server_refuses_new_jobs_and_lets_all_others_end(durable, home: Path, bwrap, eventually) -> None:
    with running(f"redis+socket://{home / 's'}", home) as client:
        redis = _redis(home)
        client.run("open('f', 'w')", session="s", wait_s=WAIT_S)
        ends = client.submit("import sys\nprint('on', flush=True)\nsys.stdin.read()\nimport time; time.sleep(2)")
        cancelled = client.submit("import time\nprint('on', flush=True)\ntime.sleep(600)")
        for handle in (ends, cancelled):
            next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
        redis.hset("lb:session:default/s", "idle_timeout_s", 0)
        redis.zadd("lb:node:n:expiry", {"default/s": 0}, xx=True)
        redis.config_set("maxmemory", 1)

        with pytest.raises(QueueFull):
            client.submit("print(1)")
        cancelled.cancel()
        assert ends.result(timeout_s=WAIT_S).outcome == "ok"
        assert cancelled.result(timeout_s=WAIT_S).outcome == "cancelled"
        eventually(lambda: redis.hget("lb:session:default/s", "state") == b"closed", WAIT_S)
        redis.config_set("maxmemory", 0)
        assert client.run("print('alive')", wait_s=WAIT_S).stdout == "alive\n"
