"""Which nodes could run a job that is first in its line, and what keeps each of them from it?"""

from collections.abc import Sequence
from dataclasses import dataclass

from leasebox._reads import NodeStatus
from leasebox.contract.sizes import duration_text
from leasebox.contract.standing import Cause


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a job from going on; the fields are those of `Why`."""

    cause: Cause
    sentence: str
    next_step: str | None = None
    node: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job needs of a node.

    Attributes:
        node: The one that holds its session's sandbox; None = any will do.
        is_served: Whether the live nodes have its profile.
        kept: Slots of each node that it may not have.
    """

    node: str | None
    session: str | None
    profile: str
    is_served: bool
    kept: int = 0


_STATES = {
    Cause.BUSY: "has all its slots taken that such a job may have",
    Cause.FULL: "holds as many sandboxes as it may",
    Cause.ENGINE_DOWN: "cannot reach its engine",
    Cause.FENCED: "is cut off from Redis",
    Cause.DRAINING: "is being drained and takes no more work",
}
"""In the order in which they are likely to pass."""
STEPS = {
    Cause.BUSY: "Wait for a job to end, add a worker, or raise LEASEBOX_SLOTS.",
    Cause.FULL: "Close idle sessions (`leasebox sessions list`), raise LEASEBOX_MAX_SANDBOXES, or add a worker.",
    Cause.ENGINE_DOWN: "On that host: `systemctl restart docker`, then `leasebox-worker doctor`.",
    Cause.FENCED: "Look at that worker's log and at its way to Redis; it goes on by itself when Redis answers.",
    Cause.DRAINING: "Start another worker, or this one again when its upgrade is done.",
}
"""What to do about nodes that take no work, by the reason."""
_NAMED = 3


def of_nodes(wanted: Wanted, nodes: Sequence[NodeStatus]) -> Obstacle | None:
    """What is in the way at the nodes; None where one of them may take the job now."""
    live = [node for node in nodes if node.state in ("up", "draining")]
    if wanted.node is not None:
        return _of_holder(wanted, wanted.node, nodes, live)
    if not live:
        return _no_node(wanted, nodes)
    if not wanted.is_served:
        return Obstacle(
            Cause.PROFILE,
            f"No node serves profile {wanted.profile}; it will be rejected when its turn comes.",
            "`leasebox profiles list` shows those that are; workers take theirs from LEASEBOX_PROFILES_FILE.",
        )
    blocks = [(node.name, _blocked(node, wanted)) for node in live]
    found = [(name, cause) for name, cause in blocks if cause is not None]
    if len(found) < len(live):
        return None
    cause = min((cause for _, cause in found), key=list(_STATES).index)
    told = [f"node {name} {_STATES[cause]}" for name, cause in found[:_NAMED]]
    more = f"; {len(found) - _NAMED} more take nothing either" if len(found) > _NAMED else ""
    return Obstacle(cause, f"N{'; '.join(told)[1:]}{more}.", STEPS[cause])


def _of_holder(wanted: Wanted, name: str, nodes: Sequence[NodeStatus], live: Sequence[NodeStatus]) -> Obstacle | None:
    """Of a session's sandbox: only its node can run the job, until others have given that node up."""
    where = f"The sandbox of session {wanted.session} is on node {name}, which"
    holder = next((node for node in nodes if node.name == name), None)
    if holder is None or holder not in live:
        silent = f"has not answered for {duration_text(round(holder.silent_s))}" if holder else "is unknown"
        then = "another node takes the session over, with empty files, when it has given that one up"
        step = f"Start the worker of node {name} again, which keeps the session's files; else {then}."
        return Obstacle(Cause.SESSION_NODE, f"{where} {silent}.", step, name)
    cause = _blocked(holder, wanted)
    return Obstacle(cause, f"{where} {_STATES[cause]}.", STEPS[cause], name) if cause is not None else None


def _no_node(wanted: Wanted, nodes: Sequence[NodeStatus]) -> Obstacle:
    gone = [f"{node.name} was last seen {duration_text(round(node.silent_s))} ago" for node in nodes[:_NAMED]]
    known = f" ({'; '.join(gone)})" if gone else ""
    lacks = "" if wanted.is_served else f" The nodes that were up last did not serve its profile {wanted.profile}."
    return Obstacle(
        Cause.NO_NODE,
        f"No worker is up{known}; it waits for one.{lacks}",
        "Start one: `leasebox-worker run` with the same LEASEBOX_URL and LEASEBOX_PREFIX; `leasebox nodes` lists them.",
    )


def _blocked(node: NodeStatus, wanted: Wanted) -> Cause | None:
    """Why a live node takes no such job now; one that holds the sandbox already needs neither engine nor room."""
    is_holder = wanted.node is not None
    paused = set(node.fields.get("paused", "").split(","))
    if node.state == "draining" or "draining" in paused:
        return Cause.DRAINING
    if "fenced" in paused:
        return Cause.FENCED
    if not is_holder and "engine_down" in paused:
        return Cause.ENGINE_DOWN
    if not is_holder and "full" in paused:
        return Cause.FULL
    return Cause.BUSY if _is_busy(node, wanted.kept) else None


def _is_busy(node: NodeStatus, kept: int) -> bool:
    slots, busy, bulk = (int(node.fields.get(name) or 0) for name in ("slots", "busy", "bulk"))
    # As `Slots.for_bulk` of a node has it: one slot is always for all.
    return bool(slots) and (busy >= slots or (kept > 0 and bulk >= max(1, slots - kept)))
