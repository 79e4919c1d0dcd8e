"""Which sessions end for idleness."""

from typing import Any

import pytest

from leasebox_worker.lifecycle.sweeper import Sweeper


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def sweeper(worker_node: Any, ended: list[tuple[str, str]]) -> Sweeper:
    return Sweeper(worker_node.redis, worker_node.runner, worker_node.keys, "n", lambda *told: ended.append(told))


def _let_time_pass(worker_node: Any, session: str) -> None:
    line = f"acme/{session}"
    worker_node.redis.hset(worker_node.keys.session_line(line), "used_at", "1")
    worker_node.redis.zadd(worker_node.keys.expiry("n"), {line: 1.0})


def test_an_idle_session_ends_with_its_sandbox_once_its_time_has_come(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("old", "old box")
    worker_node.run_to_idle("new", "new box")
    _let_time_pass(worker_node, "old")

    assert sweeper.sweep() == 1
    assert ended == [("old box", "idle")]
    assert worker_node.session("old")["close_reason"] == "idle"
    assert worker_node.session("new")["state"] == "idle"


def test_a_job_that_came_before_the_sweep_wins(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("s")
    _let_time_pass(worker_node, "s")
    worker_node.submit("s")

    assert sweeper.sweep() == 0
    assert ended == []


def test_a_full_node_ends_the_session_that_was_idle_longest_and_no_other(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    now = worker_node.redis.time()[0]
    for session, idle_s in (("new", 100), ("old", 200), ("busy", 300)):
        worker_node.run_to_idle(session, f"{session} box")
        worker_node.redis.hset(worker_node.keys.session("acme", session), "used_at", str(now - idle_s))
    worker_node.claim(worker_node.submit("busy"))

    assert sweeper.evict(60.0)
    assert ended == [("old box", "evicted")]
    assert worker_node.session("old")["close_reason"] == "evicted"
    assert worker_node.session("new")["state"] == "idle"


def test_no_session_ends_before_the_idle_time_that_the_operator_gave(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("s")

    assert not sweeper.evict(60.0)
    assert ended == []
