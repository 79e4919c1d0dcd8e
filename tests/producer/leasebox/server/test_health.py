"""Is what is told of an installation what a census found, and is it looked at every 30 s at most?"""

from collections.abc import Generator
from typing import Any

import pytest

from leasebox.contract.errors import BrokerUnavailable
from leasebox.contract.keys import Keys
from leasebox.contract.scripts.census import Census, ClassCount, NodeCount
from leasebox.server.health import LATE_S, LONG_WAIT_S, Health, checks_of

WELL = Census((), (), (), {}, {"used_memory": "5", "maxmemory": "10"}, 0, 0, 0, 0, 0.0)


def waiting(name: str, wait_s: float) -> Census:
    return WELL._replace(classes=(ClassCount(name, 1, 1, 1, wait_s),))


def node(silent_s: float, *, is_dead: bool = False, is_draining: bool = False) -> Census:
    told = NodeCount("n", silent_s, is_dead, is_draining, 4, 0, frozenset(), 0, 0, 0, {})
    return WELL._replace(nodes=(told,))


@pytest.mark.parametrize(
    ("found", "warned"),
    [
        (WELL, set()),
        (waiting("default", LONG_WAIT_S), set()),
        (waiting("default", LONG_WAIT_S + 1), {"queues"}),
        (waiting("batch", LONG_WAIT_S + 1), set()),
        (node(1.0), set()),
        (node(16.0), {"lost_nodes"}),
        (node(1.0, is_dead=True), {"lost_nodes"}),
        (node(16.0, is_draining=True), set()),
        (WELL._replace(memory={"used_memory": "9", "maxmemory": "10"}), {"memory"}),
        (WELL._replace(memory={"used_memory": "9", "maxmemory": "0"}), set()),
        (WELL._replace(memory={}), set()),
        (WELL._replace(webhook_late_s=LATE_S + 1), {"webhooks"}),
    ],
)
def test_each_bound_is_a_check(found: Census, warned: set[str]) -> None:
    checks = checks_of(found, at=7.0)

    assert {check.name for check in checks if check.status == "warning"} == warned
    assert {(check.at, bool(check.message)) for check in checks} == {(7.0, True)}


async def test_many_who_ask_cost_one_look_and_a_failed_one_is_made_again() -> None:
    looks = 0

    async def run(flow: Generator[Any, Any, Census]) -> Census:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise BrokerUnavailable("away")
        return WELL

    health = Health()
    first = await health.checks(run, Keys())
    later = [await health.checks(run, Keys()) for _ in range(5)]

    assert [(check.name, check.status) for check in first] == [("census", "warning")]
    assert all(found == later[0] for found in later)
    assert (len(later[0]), looks) == (4, 2)
