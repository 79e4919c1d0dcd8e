"""Is each thing that keeps nodes from a job told apart, and nothing said where one of them may take it?"""

import pytest

from leasebox._obstacles import Wanted, of_nodes
from leasebox._reads import NodeStatus
from leasebox.contract.standing import Cause

ANY = Wanted(None, None, "default", is_served=True)
HELD = Wanted("a", "s", "default", is_served=True)
KEPT = Wanted(None, None, "default", is_served=True, kept=1)
LACKED = Wanted(None, None, "gpu", is_served=False)


def node(name: str = "a", silent_s: float = 1.0, **fields: str) -> NodeStatus:
    return NodeStatus(name, 0, silent_s, {"slots": "4", "busy": "1", **fields})


@pytest.mark.parametrize(
    ("wanted", "nodes", "cause", "told"),
    [
        (ANY, [], Cause.NO_NODE, "No worker is up; it waits for one."),
        (ANY, [node(silent_s=99)], Cause.NO_NODE, "No worker is up (a was last seen 99 seconds ago); it waits"),
        (ANY, [node(dead="1")], Cause.NO_NODE, "No worker is up (a was last seen"),
        (LACKED, [node(silent_s=99)], Cause.NO_NODE, "did not serve its profile gpu"),
        (LACKED, [node()], Cause.PROFILE, "No node serves profile gpu; it will be rejected"),
        (ANY, [node(busy="4")], Cause.BUSY, "Node a has all its slots taken that such a job may have."),
        (KEPT, [node(busy="3", bulk="3")], Cause.BUSY, "Node a has all its slots taken"),
        (KEPT, [node(busy="3", bulk="2")], None, ""),
        (KEPT, [node(slots="1", busy="0", bulk="0")], None, ""),
        (ANY, [node(busy="3", bulk="3")], None, ""),
        (ANY, [node(paused="full")], Cause.FULL, "Node a holds as many sandboxes as it may."),
        (ANY, [node(paused="engine_down")], Cause.ENGINE_DOWN, "Node a cannot reach its engine."),
        (ANY, [node(paused="engine_down,full")], Cause.ENGINE_DOWN, "Node a cannot reach its engine."),
        (ANY, [node(paused="fenced")], Cause.FENCED, "Node a is cut off from Redis."),
        (ANY, [node(draining="1")], Cause.DRAINING, "Node a is being drained and takes no more work."),
        (ANY, [node(draining="1"), node("b", busy="4")], Cause.BUSY, "Node a is being drained and takes no more work; "
         "node b has all its slots taken that such a job may have."),
        (ANY, [node(name, busy="4") for name in "abcde"], Cause.BUSY, "2 more take nothing either."),
        (ANY, [node(draining="1"), node("b")], None, ""),
        (ANY, [node(silent_s=99), node("b")], None, ""),
        (HELD, [node(), node("b", busy="4")], None, ""),
        (HELD, [node(paused="engine_down,full")], None, ""),
        (HELD, [node(busy="4"), node("b")], Cause.BUSY, "The sandbox of session s is on node a, which has all"),
        (HELD, [node(draining="1"), node("b")], Cause.DRAINING, "on node a, which is being drained"),
        (HELD, [node(silent_s=40), node("b")], Cause.SESSION_NODE, "on node a, which has not answered for 40 seconds."),
        (HELD, [node("b")], Cause.SESSION_NODE, "on node a, which is unknown."),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_named(wanted: Wanted, nodes: list[NodeStatus], cause: Cause | None, told: str) -> None:
    found = of_nodes(wanted, nodes)

    assert (found.cause if found else None) is cause
    assert found is None or told in found.sentence
    assert found is None or found.next_step
