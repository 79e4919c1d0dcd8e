"""Do the real scripts do what the model does? They walk through its worlds side by side, move by move."""

from __future__ import annotations

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from protocol_model import BREAKS, PROMISES, SCENARIOS, Job, Kind, Line, Node, Protocol, Scenario, State, World, explore
from replay import TENANT, Replay

EXTRA = (
    Scenario(
        "everything at once", (0, 0, 1, 0, 2), {0}, (1, 0, 0, 2, 1),
        {("cancel", 0), ("cancel", 2), ("close", 0), ("sweep", 0), ("expire", 1), ("drain", 0)}, faults=4, frail=2,
    ),
    Scenario("two sessions", (0, 1, 0, 1), {0, 1}, (2, 0, 1, 0), {("cancel", 1), ("close", 1)}, {1}, faults=3, frail=2),
)  # fmt: skip


def first_world(scenario: Scenario) -> World:
    lines = (Line(),) * len({*scenario.line_of})
    return World((Job(),) * len(scenario.line_of), lines, (Node(),) * 2, frozenset(scenario.wishes), scenario.faults)


class SideBySide(RuleBasedStateMachine):
    """The model and the scripts in the same scenario; each rule is a kind of move."""

    redis: redis_py.Redis

    @initialize(scenario=st.sampled_from((*EXTRA, *SCENARIOS)))
    def begin(self, scenario: Scenario) -> None:
        self.protocol = Protocol(scenario)
        self.world = first_world(scenario)
        self.replay = Replay(self.redis, scenario)
        self.trace: list[str] = []

    def moves(self, kind: Kind) -> list[tuple[str, World]]:
        found = [(label, after) for this, label, after in self.protocol.moves(self.world) if this is kind]
        return [(label, after._replace(faults=self.world.faults - (kind is Kind.FAULT))) for label, after in found]

    def step(self, label: str, after: World) -> None:
        self.trace.append(label)
        self.replay.step(label, self.world)
        self.world, before = self.same(label, after), self.world
        assert self.world.faults >= 0
        assert before.wakeups is not None

    def same(self, label: str, expected: World) -> World:
        """The world after a move, in which Redis and the model agree."""
        actual = self.replay.project(expected)
        assert actual._replace(wakeups=expected.wakeups) == expected, (label, self.trace)
        assert actual.wakeups <= expected.wakeups, (label, self.trace)
        # The model sends more: to a queue that the line has left meanwhile, and again where a message is still there.
        for queue, line in expected.wakeups - actual.wakeups:
            is_needed = line in expected.waiting and expected.lines[line].home == queue
            assert not is_needed or "wakes line" in label, (label, queue, line, self.trace)
        return actual

    @rule(data=st.data())
    def duty(self, data: st.DataObject) -> None:
        moves = self.moves(Kind.DUTY)
        self.step(*moves[data.draw(st.integers(0, len(moves) - 1))])

    @precondition(lambda self: self.moves(Kind.CHOICE))
    @rule(data=st.data())
    def choice(self, data: st.DataObject) -> None:
        moves = self.moves(Kind.CHOICE)
        self.step(*moves[data.draw(st.integers(0, len(moves) - 1))])

    @precondition(lambda self: self.world.faults and self.moves(Kind.FAULT))
    @rule(data=st.data())
    def fault(self, data: st.DataObject) -> None:
        moves = self.moves(Kind.FAULT)
        self.step(*moves[data.draw(st.integers(0, len(moves) - 1))])

    @invariant()
    def promises(self) -> None:
        if hasattr(self, "world"):
            assert [promise for promise, is_kept in PROMISES.items() if not is_kept(self.protocol, self.world)] == []

    def teardown(self) -> None:
        """Then everybody does their duty: all jobs end, and nothing is left over."""
        if hasattr(self, "world"):
            self.run_duties()
            assert_clean(self.replay, self.world)

    def run_duties(self) -> None:
        done: dict[str, int] = {}
        for turn in range(400):
            if all(job.state in (State.NEW, State.DONE) for job in self.world.jobs):
                return
            moves = [(label, after) for label, after in self.moves(Kind.DUTY) if after != self.world]
            label, after = min(moves, key=lambda move: done.get(move[0], -1))
            done[label] = turn
            self.step(label, after)
        raise AssertionError(f"stuck: {self.world.sketch()} after {self.trace}")


def assert_clean(replay: Replay, world: World) -> None:
    keys, redis = replay.keys, replay.redis
    for number, job in enumerate(world.jobs):
        if job.state is State.DONE:
            assert job.ends == 1
            assert redis.exists(keys.meta(replay.jobs[number]))
    assert not [key for name in ("n0", "n1") if redis.exists(key := keys.claims(name))]
    assert not redis.exists(keys.tenant_queued(TENANT), keys.tenant_running(TENANT), keys.queued(keys.queue("default")))
    submitted = sum(job.state is State.DONE for job in world.jobs)
    total, done = redis.hmget(keys.batch(keys.prefix), "total", "done")
    assert (int(total or 0), int(done or 0)) == (submitted, submitted)
    assert replay.homeless_keys() == []


def walk(redis: redis_py.Redis, examples: int, steps: int) -> None:
    machine = type("Machine", (SideBySide,), {"redis": redis})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, print_blob=False,
            database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.mark.slow
def test_the_scripts_walk_through_the_same_worlds_as_the_model(redis):
    walk(redis, examples=60, steps=40)


@pytest.mark.long
def test_the_scripts_walk_through_the_same_worlds_as_the_model_for_long(redis):
    walk(redis, examples=2000, steps=80)


def trace_of(name: str) -> tuple[Scenario, list[str]]:
    """A shortest way on which a broken protocol breaks a promise."""
    for scenario in SCENARIOS:
        _, promise, trace = explore(Protocol(scenario, frozenset({name})))
        if promise:
            return scenario, [line[:line.rindex("  ")] for line in trace]
    raise AssertionError(f"{name} breaks nothing: the model does not see it any more")


assert BREAKS
