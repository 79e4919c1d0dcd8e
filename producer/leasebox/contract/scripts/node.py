"""Which scripts do nodes and reapers call?

heartbeat adopt detach reclaim overdue forget expire resend sweep pool_push pool_drop publish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, reader, text
from leasebox.contract.scripts.worker import BACKOFF_S, MAX_STARTS
from leasebox.contract.wire import ENDINGS, Endings

DISOWN_AFTER_S: Final = 5.0
RECLAIM_S: Final = 15.0
ADOPT_GRACE_S: Final = 60.0
DRAINED_GRACE_S: Final = 600.0
RESEND_GRACE_S: Final = 10.0
TOMBSTONE_TTL_S: Final = 86400.0


def heartbeat(
    keys: Keys,
    *,
    node: str,
    incarnation: str,
    held: Sequence[tuple[str, str] | tuple[str, str, float | None]],
    slots: int,
    busy: int,
    draining: bool = False,
    paused: Sequence[str] = (),
    disown_after_s: float = DISOWN_AFTER_S,
    endings: Endings = ENDINGS,
    backoff_s: Sequence[float] = BACKOFF_S,
    max_starts: int = MAX_STARTS,
) -> Call[answers.HeartbeatAnswer]:
    """Say that the node lives.

    Args:
        held: (job, lease) of every lease that the process holds; a third item moves the claim's deadline to so many
            seconds from now (after a hold: PROTOCOL.md flaw 3).
        paused: Why the node takes no work that others could take; for people who look at the node's record.
    """
    args = (
        keys.names, node, incarnation, json.dumps(held), slots, busy, "1" if draining else "", disown_after_s,
        endings.text, json.dumps(backoff_s), max_starts, ",".join(paused),
    )  # fmt: skip
    return Call("heartbeat", (keys.node(node),), args, _heartbeat_answer)


def adopt(
    keys: Keys,
    *,
    node: str,
    incarnation: str,
    machine_id: str,
    has_proof: bool,
    driver: str,
    slots: int,
    versions_json: str = "{}",
    found: Sequence[answers.FoundSandbox] = (),
    reclaim_s: float = RECLAIM_S,
    endings: Endings = ENDINGS,
    backoff_s: Sequence[float] = BACKOFF_S,
    max_starts: int = MAX_STARTS,
) -> Call[answers.AdoptAnswer]:
    """Register a new incarnation, after killing what ran; `has_proof`: the state folder's lock was obtained."""
    args = (
        keys.names, node, incarnation, machine_id, "1" if has_proof else "", driver, slots, versions_json,
        json.dumps(found), reclaim_s, endings.text, json.dumps(backoff_s), max_starts,
    )  # fmt: skip
    sandboxes = tuple(answers.FoundSandbox(*sandbox) for sandbox in found)

    def _parse(reply: Any) -> answers.AdoptAnswer:
        if reply[0] == b"name_taken":
            return answers.NameTaken(float(reply[1]))
        kept = set(reply[1])
        return answers.Adopted(
            keep=tuple(sandbox for place, sandbox in enumerate(sandboxes) if place in kept),
            destroy=tuple(sandbox for place, sandbox in enumerate(sandboxes) if place not in kept),
            more=bool(reply[2]),
        )

    return Call("adopt", (keys.node(node),), args, _parse)


def detach(keys: Keys, *, line: str, generation: int, sandbox: str, reason: str = "lost") -> Call[answers.DetachAnswer]:
    """Say that the sandbox of an idle session is gone; `sandbox` as the record names it."""
    return Call("detach", (keys.session_line(line),), (keys.names, line, generation, sandbox, reason), _detach_answer)


def reclaim(
    keys: Keys,
    *,
    node: str,
    incarnation: str,
    seen_counter: float,
    endings: Endings = ENDINGS,
    backoff_s: Sequence[float] = BACKOFF_S,
    max_starts: int = MAX_STARTS,
) -> Call[answers.ReclaimAnswer]:
    """Declare an incarnation dead whose counter in `lb:nodes` still is `seen_counter`; give its claims up."""
    args = (
        keys.names, node, incarnation, seen_counter, endings.text, json.dumps(backoff_s), max_starts,
    )  # fmt: skip
    return Call("reclaim", (keys.node(node),), args, _reclaim_answer)


def overdue(
    keys: Keys,
    *,
    job: str,
    lease: str,
    endings: Endings = ENDINGS,
    backoff_s: Sequence[float] = BACKOFF_S,
    max_starts: int = MAX_STARTS,
) -> Call[answers.OverdueAnswer]:
    """Take a claim whose deadline (its score in the node's claims, grace included) has passed."""
    args = (keys.names, job, lease, endings.text, json.dumps(backoff_s), max_starts)
    return Call("overdue", (keys.job(job),), args, _overdue_answer)


def forget(
    keys: Keys,
    *,
    node: str,
    incarnation: str,
    reason: str = "lost",
    own: bool = False,
    adopt_grace_s: float = ADOPT_GRACE_S,
    drained_grace_s: float = DRAINED_GRACE_S,
) -> Call[answers.ForgetAnswer]:
    """A dead node stays away, or (`own`) leaves with its sandboxes: its sessions can go on elsewhere."""
    args = (keys.names, node, incarnation, reason, "1" if own else "", adopt_grace_s, drained_grace_s)
    return Call("forget", (keys.node(node),), args, _forget_answer)


def expire(keys: Keys, *, endings: Endings = ENDINGS) -> Call[answers.Swept]:
    """End what is due, and wake lines whose back-off is over."""
    return Call("expire", (), (keys.names, endings.text), _expire_answer)


def resend(keys: Keys, *, queue: str, grace_s: float = RESEND_GRACE_S) -> Call[int]:
    """Wake the lines of a queue (its full name) whose wake-up is missing; how many, 64 at most."""
    return Call("resend", (queue,), (keys.names, queue, grace_s), int)


def sweep(
    keys: Keys,
    *,
    line: str,
    generation: int,
    evict_idle_after_s: float | None = None,
    tombstone_ttl_s: float = TOMBSTONE_TTL_S,
    tell_node: bool = False,
) -> Call[answers.SweepAnswer]:
    """End an idle session (`line` is `tenant/session`, as in the node's expiry index) if its time has come.

    Args:
        tell_node: The caller cannot kill the sandbox itself: its node is told to.
    """
    evict = "" if evict_idle_after_s is None else evict_idle_after_s
    args = (keys.names, line, generation, evict, tombstone_ttl_s, "1" if tell_node else "")
    return Call("sweep", (keys.session_line(line),), args, _sweep_answer)


def pool_push(keys: Keys, *, node: str, incarnation: str, profile: str, sandbox: str) -> Call[answers.PoolPushAnswer]:
    """Put a warm sandbox into the node's pool."""
    args = (keys.names, node, incarnation, profile, sandbox)
    return Call("pool_push", (keys.pool(node, incarnation, profile),), args, _pool_answer)


def pool_drop(keys: Keys, *, node: str, incarnation: str, profile: str, sandbox: str) -> Call[answers.PoolDropAnswer]:
    """Take a sandbox out of the node's pool; `Dropped`: nobody else has it, end it."""
    return Call("pool_drop", (keys.pool(node, incarnation, profile),), (keys.names, sandbox), _drop_answer)


def publish(
    keys: Keys,
    *,
    node: str,
    incarnation: str,
    profiles: Mapping[str, str],
    digest: str,
    quotas: Mapping[str, str],
    quotas_digest: str,
    reclaim_s: float = RECLAIM_S,
) -> Call[answers.PublishAnswer]:
    """Say which profiles are served and what bounds tenants, name to JSON; `Differs` while a live node says otherwise.

    Writes nothing before the incarnation has registered.
    """
    flat = [text for given in (profiles, quotas) for pair in given.items() for text in pair]
    head = (keys.names, node, incarnation, reclaim_s, digest, quotas_digest, 2 * len(profiles))
    return Call("publish", (keys.profiles(), keys.tenants()), (*head, *flat), _publish_answer)


def _texts(items: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(item.decode() for item in items)


_heartbeat_answer: Reader[answers.HeartbeatAnswer] = reader(
    {
        b"alive": lambda lost, flags, more: answers.Alive(_texts(lost), _texts(flags), bool(more)),
        b"name_taken": answers.NameTaken,
        b"fenced": answers.Fenced,
    }
)
_reclaim_answer: Reader[answers.ReclaimAnswer] = reader(
    {b"reclaimed": lambda jobs, more: answers.Reclaimed(jobs, bool(more)), b"alive": answers.StillAlive}
)
_detach_answer: Reader[answers.DetachAnswer] = reader(
    {b"detached": lambda woken: answers.Detached(text(woken)), b"kept": answers.Kept}
)
_overdue_answer: Reader[answers.OverdueAnswer] = reader(
    {
        b"requeued": lambda woken: answers.Requeued(text(woken)),
        b"ended": lambda outcome: answers.Ended(text(outcome)),
        b"kept": answers.Kept,
        b"gone": answers.Gone,
    }
)
_forget_answer: Reader[answers.ForgetAnswer] = reader(
    {b"forgotten": lambda count, more: answers.Forgotten(count, bool(more)), b"kept": answers.Kept}
)
_expire_answer: Reader[answers.Swept] = reader(
    {b"expired": lambda jobs, sessions, woken, more: answers.Swept(jobs, sessions, woken, bool(more))}
)
_sweep_answer: Reader[answers.SweepAnswer] = reader(
    {b"kill": lambda sandbox, reason: answers.Kill(text(sandbox), text(reason)), b"kept": answers.Kept}
)
_pool_answer: Reader[answers.PoolPushAnswer] = reader({b"ok": answers.Pooled, b"fenced": answers.Fenced})
_drop_answer: Reader[answers.PoolDropAnswer] = reader({b"dropped": answers.Dropped, b"kept": answers.Kept})
_publish_answer: Reader[answers.PublishAnswer] = reader(
    {b"published": answers.Published, b"differs": lambda node, what: answers.Differs(text(node), text(what))}
)
