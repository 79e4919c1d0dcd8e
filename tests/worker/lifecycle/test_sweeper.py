"""Which sessions end for idleness."""

from typing import Any

import pytest

from leasebox_worker.lifecycle.sweeper import Sweeper


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def sweeper(worker_node: Any, ended: list[str]) -> Sweeper:
    return Sweeper(worker_node.redis, worker_node.runner, worker_node.keys, "n", ended.append)


def _let_time_pass(worker_node: Any, session: str) -> None:
    line = f"acme/{session}"
    worker_node.redis.hset(worker_node.keys.session_line(line), "used_at", "1")
    worker_node.redis.zadd(worker_node.keys.expiry("n"), {line: 1.0})


def test_an_idle_session_ends_with_its_sandbox_once_its_time_has_come(
    worker_node: Any, sweeper: Sweeper, ended: list[str]
) -> None:
    worker_node.run_to_idle("old", "old box")
    worker_node.run_to_idle("new", "new box")
    _let_time_pass(worker_node, "old")

    assert sweeper.sweep() == 1
    assert ended == ["old box"]
    assert worker_node.session("old")["close_reason"] == "idle"
    assert worker_node.session("new")["state"] == "idle"


def test_a_job_that_came_before_the_sweep_wins(worker_node: Any, sweeper: Sweeper, ended: list[str]) -> None:
    worker_node.run_to_idle("s")
    _let_time_pass(worker_node, "s")
    worker_node.submit("s")

    assert sweeper.sweep() == 0
    assert ended == []
