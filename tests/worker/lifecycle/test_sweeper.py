"""Which sessions end for idleness."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from leasebox.contract.scripts import answers, client, client_answers, node
from leasebox_worker.lifecycle.sweeper import Sweeper, Swept


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def sweeper(worker_node: Any) -> Sweeper:
    return Sweeper(worker_node.redis, worker_node.runner, worker_node.keys, tombstone_ttl_s=60.0)


def tell(ended: list[tuple[str, str]]) -> Callable[[str, str], None]:
    """Note what would be ended, and why."""
    return lambda sandbox, reason: ended.append((sandbox, reason))


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

    assert sweeper.sweep("n", tell(ended)) == [Swept("acme/old", "idle")]
    assert ended == [("old box", "idle")]
    assert worker_node.session("old")["close_reason"] == "idle"
    assert float(worker_node.session("old")["closed_at"]) > 0
    assert worker_node.session("new")["state"] == "idle"


def test_a_session_of_the_greatest_age_ends_also_when_it_was_just_used(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("s")
    worker_node.redis.hset(worker_node.keys.session_line("acme/s"), "age_from", "1")
    worker_node.redis.zadd(worker_node.keys.expiry("n"), {"acme/s": 1.0})

    assert sweeper.sweep("n", tell(ended)) == [Swept("acme/s", "max_age")]


def test_the_record_of_a_swept_session_says_why_for_a_while(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("s")
    _let_time_pass(worker_node, "s")

    sweeper.sweep("n", tell(ended))

    assert worker_node.session("s")["close_reason"] == "idle"
    assert 0 < worker_node.redis.ttl(worker_node.keys.session_line("acme/s")) <= 60


def test_touch_puts_the_end_off(worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]) -> None:
    worker_node.run_to_idle("s")
    _let_time_pass(worker_node, "s")

    touched = worker_node.runner.run(client.touch(worker_node.keys, tenant="acme", session="s"))

    assert isinstance(touched, client_answers.Touched)
    assert sweeper.sweep("n", tell(ended)) == []


def test_a_job_that_came_before_the_sweep_wins(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("s")
    _let_time_pass(worker_node, "s")
    worker_node.submit("s")

    assert sweeper.sweep("n", tell(ended)) == []
    assert ended == []


def test_a_full_node_ends_the_session_that_was_idle_longest_and_no_other(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    now = worker_node.redis.time()[0]
    for session, idle_s in (("new", 100), ("old", 200), ("busy", 300)):
        worker_node.run_to_idle(session, f"{session} box")
        worker_node.redis.hset(worker_node.keys.session("acme", session), "used_at", str(now - idle_s))
    worker_node.claim(worker_node.submit("busy"))

    assert sweeper.evict("n", tell(ended), idle_after_s=60.0)
    assert ended == [("old box", "evicted")]
    assert worker_node.session("old")["close_reason"] == "evicted"
    assert worker_node.session("new")["state"] == "idle"


def test_no_session_ends_before_the_idle_time_that_the_operator_gave(
    worker_node: Any, sweeper: Sweeper, ended: list[tuple[str, str]]
) -> None:
    worker_node.run_to_idle("s")

    assert not sweeper.evict("n", tell(ended), idle_after_s=60.0)
    assert ended == []


def test_an_operators_sweep_tells_the_node_what_to_kill(worker_node: Any, sweeper: Sweeper) -> None:
    worker_node.run_to_idle("s", "its box")
    _let_time_pass(worker_node, "s")

    assert sweeper.sweep_all() == [Swept("acme/s", "idle")]

    ((_, order),) = worker_node.redis.xrange(worker_node.keys.control("n"))
    assert (order[b"type"], order[b"sandbox"]) == (b"close", b"its box")


def test_a_session_that_never_had_a_sandbox_ends_for_its_idle_time_or_its_age(worker_node: Any) -> None:
    for name, times in (("idle", {"idle_timeout_s": 0.001}), ("aged", {"max_age_s": 0.001})):
        worker_node.runner.run(
            client.open_session(worker_node.keys, tenant="acme", session=name, profile=None, **times)
        )
    while worker_node.session("idle")["state"] != "closed" or worker_node.session("aged")["state"] != "closed":
        worker_node.runner.run(node.expire(worker_node.keys))

    assert worker_node.session("idle")["close_reason"] == "idle"
    assert worker_node.session("aged")["close_reason"] == "max_age"


@pytest.mark.parametrize(
    "tries", [pytest.param(500, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.long)]
)
@pytest.mark.timeout(600)
def test_a_job_that_comes_in_the_instant_of_a_sweep_never_fails(worker_node: Any, tries: int) -> None:
    race = _Race(worker_node)
    with ThreadPoolExecutor(2) as threads:
        swept = sum(race.run(threads, n) for n in range(tries))

    assert 0 < swept < tries, "both orders must occur"


class _Race:
    """One session again and again: due to be swept, and a job submitted at the same instant."""

    def __init__(self, worker_node: Any) -> None:
        self.node = worker_node
        self.barrier = Barrier(2)
        worker_node.run_to_idle("s", "box 0")
        self.box = "box 0"

    def run(self, threads: ThreadPoolExecutor, n: int) -> bool:
        """Whether the sweep came first; the job must end well either way."""
        _let_time_pass(self.node, "s")
        generation = int(self.node.session("s")["generation"])
        swept = threads.submit(self._sweep, generation)
        job = threads.submit(self._submit).result()
        answer = swept.result()
        acquired = self.node.tracker.acquire(job, self.node.tracker.new_lease(), draining=False, room=True)
        if isinstance(answer, answers.Kill):
            assert answer.sandbox == self.box
            # The submit came second and made the session anew: had it come first, it would have kept the sandbox.
            assert self.node.session("s")["created_at"] == self.node.job(job)["submitted_at"]
            assert isinstance(acquired, answers.Cold), acquired
            self.box = f"box {n + 1}"
            bound = self.node.tracker.bind(acquired.work, self.box, why="lost")
            assert bound.generation == generation + 1
            assert self.node.session("s")["generation"] == str(generation + 1)
        else:
            assert isinstance(acquired, answers.Leased), acquired
            assert acquired.sandbox == self.box
        self.node.tracker.start(acquired.work, deadline_s=5.0, sandbox_name=self.box)
        self.node.settle(acquired.work)
        assert self.node.job(job)["outcome"] == "ok"
        return isinstance(answer, answers.Kill)

    def _sweep(self, generation: int) -> answers.SweepAnswer:
        self.barrier.wait()
        found: answers.SweepAnswer = self.node.runner.run(
            node.sweep(self.node.keys, line="acme/s", generation=generation)
        )
        return found

    def _submit(self) -> str:
        self.barrier.wait()
        found: str = self.node.submit("s")
        return found
