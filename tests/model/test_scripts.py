"""Do the real scripts do what the model does? They walk through its worlds side by side, move by move."""

from __future__ import annotations

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from protocol_model import SCENARIOS, Kind, Scenario
from walk import Walk

WIDER = (
    Scenario(
        "everything at once", (0, 0, 1, 0, 2), {0}, (1, 0, 0, 2, 1),
        {("cancel", 0), ("cancel", 2), ("close", 0), ("sweep", 0), ("expire", 1), ("drain", 0)}, faults=4, frail=2,
    ),
    Scenario("two sessions", (0, 1, 0, 1), {0, 1}, (2, 0, 1, 0), {("cancel", 1), ("close", 1)}, {1}, faults=3, frail=2),
)  # fmt: skip


class SideBySide(RuleBasedStateMachine):
    """Each rule is a kind of move; hypothesis chooses which."""

    redis: redis_py.Redis
    walk: Walk | None = None

    @initialize(scenario=st.sampled_from((*WIDER, *SCENARIOS)))
    def begin(self, scenario: Scenario) -> None:
        self.walk = Walk(self.redis, scenario)

    def move(self, kind: Kind, data: st.DataObject) -> None:
        assert self.walk
        moves = self.walk.moves(kind)
        self.walk.step(*moves[data.draw(st.integers(0, len(moves) - 1))])

    @rule(data=st.data())
    def duty(self, data: st.DataObject) -> None:
        self.move(Kind.DUTY, data)

    @precondition(lambda self: self.walk.moves(Kind.CHOICE))
    @rule(data=st.data())
    def choice(self, data: st.DataObject) -> None:
        self.move(Kind.CHOICE, data)

    @precondition(lambda self: self.walk.world.faults and self.walk.moves(Kind.FAULT))
    @rule(data=st.data())
    def fault(self, data: st.DataObject) -> None:
        self.move(Kind.FAULT, data)

    def teardown(self) -> None:
        if self.walk:
            self.walk.finish()


def walk(redis: redis_py.Redis, examples: int, steps: int) -> None:
    # Nothing is shrunk: a trace says all, and shrinking thousands of moves takes minutes.
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(type("Machine", (SideBySide,), {"redis": redis}), settings=chosen)


@pytest.mark.slow
def test_the_scripts_walk_through_the_same_worlds_as_the_model(redis):
    walk(redis, examples=40, steps=40)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_scripts_walk_through_the_same_worlds_as_the_model_for_long(redis):
    walk(redis, examples=500, steps=80)
