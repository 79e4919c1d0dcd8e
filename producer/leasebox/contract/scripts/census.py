"""How much stands in Redis, for Prometheus? One read-only script, with a line for each class, node and tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from leasebox.contract.keys import Keys
from leasebox.contract.queues import Priority
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, maybe, number, reader, text

MAX_LINES = 8
"""Of each queue, the lines that were woken first: one of them has waited longest, unless full nodes sent jobs back."""
MAX_TENANTS = 200
"""So that an operator's file of thousands of tenants makes neither the script nor Prometheus slow."""


class ClassCount(NamedTuple):
    """One class of jobs, over the shared queue and those of all nodes.

    Attributes:
        queued: Jobs that have not started.
        messages: Wake-ups that nobody has taken.
        lines: Lines whose head could run now.
        wait_s: Since when the one that waits longest could have been taken.
    """

    name: str
    queued: int
    messages: int
    lines: int
    wait_s: float


class NodeCount(NamedTuple):
    """One node.

    Attributes:
        silent_s: Since its last heartbeat.
        is_dead: Its jobs were given to others.
        paused: Why it takes no work from the shared queues.
        claims: Jobs that it has taken and not ended; `overdue` of them have passed their deadline.
        sessions: Those whose sandbox it has.
        pools: Warm sandboxes by profile, of all its incarnations.
    """

    name: str
    silent_s: float
    is_dead: bool
    is_draining: bool
    slots: int
    busy: int
    paused: frozenset[str]
    claims: int
    overdue: int
    sessions: int
    pools: Mapping[str, int]


class TenantCount(NamedTuple):
    """One tenant of the operator's file, and what it has used today."""

    name: str
    queued: int
    running: int
    sessions: int
    parked: int
    cpu_s: float
    output_bytes: float


class Census(NamedTuple):
    """What there is.

    Attributes:
        memory: INFO memory of the server; empty where it is refused.
        ended: Jobs that have ever ended, by class and outcome.
        deferred: Lines in back-off; `parked` of tenants that run as many jobs as they may.
        unbound: Sessions without a sandbox and without a job.
        webhooks: Deliveries that are due or wait for another attempt; `webhook_late_s` how late the latest is.
    """

    classes: tuple[ClassCount, ...]
    nodes: tuple[NodeCount, ...]
    tenants: tuple[TenantCount, ...]
    ended: Mapping[tuple[str, str], int]
    memory: Mapping[str, str]
    deferred: int
    parked: int
    unbound: int
    webhooks: int
    webhook_late_s: float


def census(keys: Keys, *, day: int) -> Call[Census]:
    """Count; `day` is today in UTC, in days since 1970."""
    args = (keys.names, day, ",".join(Priority), MAX_LINES, MAX_TENANTS)
    return Call("census", (keys.nodes(),), args, _census)


def _made(now: bytes, memory: bytes, classes: Any, nodes: Any, tenants: Any, ended: Any, counts: Any) -> Census:
    by_end = {(words[0], words[1]): int(count) for words, count in ((text(k).split("/"), n) for k, n in _pairs(ended))}
    named = {text(name): float(count) for name, count in _pairs(counts)}
    return Census(
        classes=tuple(ClassCount(text(c[0]), int(c[1]), int(c[2]), int(c[3]), float(c[4])) for c in classes),
        nodes=tuple(_node(float(now), *node) for node in nodes),
        tenants=tuple(_tenant(*tenant) for tenant in tenants),
        ended=by_end,
        memory=dict(line.split(":", 1) for line in text(memory).splitlines() if ":" in line),
        deferred=int(named["deferred"]),
        parked=int(named["parked"]),
        unbound=int(named["unbound"]),
        webhooks=int(named["webhooks"]),
        webhook_late_s=named["webhook_late_s"],
    )


def _tenant(name: bytes, queued: int, running: int, sessions: int, parked: int, *used: bytes) -> TenantCount:
    cpu_s, output_bytes = map(float, used)
    return TenantCount(text(name), queued, running, sessions, parked, cpu_s, output_bytes)


def _node(now: float, name: bytes, seen_at: bytes, dead: bytes, draining: bytes, *rest: Any) -> NodeCount:
    slots, busy, paused, claims, overdue, sessions, pools = rest
    by_profile: dict[str, int] = {}
    for pool, count in _pairs(pools):
        profile = text(pool).partition(":")[2]
        by_profile[profile] = by_profile.get(profile, 0) + int(count)
    return NodeCount(
        name=text(name),
        silent_s=max(0.0, now - (number(seen_at) or 0.0)),
        is_dead=maybe(dead) is not None,
        is_draining=draining == b"1",
        slots=int(slots or 0),
        busy=int(busy or 0),
        paused=frozenset(filter(None, text(paused).split(","))),
        claims=int(claims),
        overdue=int(overdue),
        sessions=int(sessions),
        pools=by_profile,
    )


def _pairs(flat: Any) -> zip[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


_census: Reader[Census] = reader({b"census": _made})
