"""Profiles from a file, and the warm pool, through a whole worker."""

import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import DRIVERS, START_WITHIN_S, wait_until_registered, worker_process
from tests.conftest import Eventually, RedisServer

from leasebox.client import Client

pytestmark = pytest.mark.slow
WAIT_S = 60.0
NewRedis = Callable[[], RedisServer]


def _warm(server: RedisServer, node: str, profile: str) -> list[str]:
    with server.connect() as redis:
        incarnation = (redis.hget(f"lb:node:{node}", "incarnation") or b"").decode()
        found = redis.lrange(f"lb:node:{node}:pool:{incarnation}:{profile}", 0, -1)
    return [json.loads(text)["name"] for text in found]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_worker_keeps_the_pool_of_its_file_warm_and_counts_hits(
    new_redis: NewRedis, home: Path, driver: str, request: pytest.FixtureRequest, eventually: Eventually
) -> None:
    request.getfixturevalue("python_image" if driver == "docker" else "bwrap")
    profiles, server = home / "profiles.toml", new_redis()
    profiles.write_text("[profiles.default]\npool = 0\n[profiles.small]\npids = 32\npool = 1\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with worker_process(
        server.url, home, driver, "n", LEASEBOX_PROFILES_FILE=str(profiles), LEASEBOX_METRICS_PORT=port
    ):
        first = eventually(lambda: _warm(server, "n", "small"), within_s=START_WITHIN_S)
        result = Client(server.url).run("print(1)", profile="small", wait_s=WAIT_S)
        second = eventually(lambda: _warm(server, "n", "small"), within_s=START_WITHIN_S)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S) as answer:
            told = answer.read().decode()

    assert (result.outcome, [result.sandbox]) == ("ok", first)
    assert len(second) == 1
    assert second != first
    assert 'leasebox_pool_requests_total{profile="small",result="hit"} 1.0' in told
    assert 'leasebox_jobs_total{outcome="ok"} 1.0' in told


def test_a_worker_with_other_profiles_than_a_live_one_does_not_start(
    new_redis: NewRedis, home: Path, bwrap: Path
) -> None:
    url, other = new_redis().url, home / "other.toml"
    other.write_text("[profiles.default]\npids = 64\n")
    with ExitStack() as stack:
        first = stack.enter_context(worker_process(url, home, "bubblewrap", "first"))
        wait_until_registered(url, "first", first, home / "first.log")
        second = stack.enter_context(
            worker_process(url, home, "bubblewrap", "second", LEASEBOX_PROFILES_FILE=str(other))
        )
        assert _ended(second) == 78
        assert "node 'first' serves others" in (home / "second.log").read_text()
        assert [node.name for node in Client(url).nodes()] == ["first"]


def test_a_worker_with_a_wrong_file_does_not_start_and_names_the_fault(
    new_redis: NewRedis, home: Path, bwrap: Path
) -> None:
    wrong = home / "wrong.toml"
    wrong.write_text("[profiles.default]\npids = 1\n")
    with worker_process(new_redis().url, home, "bubblewrap", "n", LEASEBOX_PROFILES_FILE=str(wrong)) as child:
        assert _ended(child) == 78
    assert f"{wrong}: profile 'default': pids: " in (home / "n.log").read_text()


def _ended(child: "subprocess.Popen[bytes]") -> Any:
    try:
        return child.wait(START_WITHIN_S)
    except subprocess.TimeoutExpired:
        pytest.fail("the worker went on")
