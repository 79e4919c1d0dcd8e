"""Does the model keep its promises, does it still see each known bug, and do the scripts have none of them?"""

from __future__ import annotations

import pytest
from protocol_model import BREAKS, SCENARIOS, Protocol, explore
from walk import Walk

NAMED = {scenario.name: scenario for scenario in SCENARIOS}
# The smallest scenario that shows each bug.
SHOWN_BY = {
    **dict.fromkeys(BREAKS, "retries, two faults"),
    **dict.fromkeys(
        ("cancel_before_kill", "reclaim_ignores_cancel", "start_ignores_cancel", "sweep_drops_pending"), "close, sweep"
    ),
    "unbounded_starts": "a sandbox that never starts",
}
LARGE = {"cancel", "two sessions and a job of its own"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(s, marks=[pytest.mark.long, pytest.mark.timeout(600)] if s.name in LARGE else [], id=s.name)
        for s in SCENARIOS
    ],
)
def test_the_model_keeps_its_promises_in_every_world(scenario):
    _, promise, trace = explore(Protocol(scenario))

    assert promise is None, trace


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_the_model_sees_a_known_bug_and_the_scripts_do_not_have_it(name, redis):
    scenario = NAMED[SHOWN_BY[name]]
    _, promise, trace = explore(Protocol(scenario, frozenset({name})))
    assert promise is not None

    walk = Walk(redis, scenario)
    for line in trace:
        label = line[: line.rindex("  ")].strip()
        if name == "late_fence" and "reclaims" in label:
            break  # no script's matter: the order of the timers forbids it
        walk.try_step(label)
    walk.finish()
