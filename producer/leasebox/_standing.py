"""Where does a job stand, and why does it not go on? In sentences for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leasebox import _flows, _reads
from leasebox._reads import Flow, NodeStatus, Query, text_of
from leasebox.contract.keys import Keys
from leasebox.contract.result import State
from leasebox.contract.sizes import duration_text
from leasebox.contract.wire import MESSAGES

_FIELDS = (
    "state", "session", "queue", "node", "runs", "starts", "not_before", "parked", "tenant", "expires_at", "outcome",
    "claimed_at", "started_at", "cancel_requested",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sentences are made of; times are unix seconds of Redis' clock.

    Attributes:
        job: Fields of its record.
        place: Jobs before it in its session.
        head: Id of the session's first job, when that is another one; `head_fields` are its fields.
        lines_before: Runnable lines before its own in the queue.
        retried_reason: Why the last attempt was given up, if that is the newest event.
    """

    now: float
    job: Mapping[str, str]
    place: int = 0
    head: str | None = None
    head_fields: Mapping[str, str] = field(default_factory=dict)
    is_closing: bool = False
    lines_before: int = 0
    retried_reason: str | None = None
    nodes: Sequence[NodeStatus] = ()


def why(keys: Keys, tenant: str, job: str) -> Flow[list[str]]:
    """Why the job stands as it does.

    Raises:
        UnknownJob: There is no such job in this tenant.
    """
    yield from _flows.fields(keys, tenant, job)
    found: tuple[float, dict[str, str], str | None] = yield _job(keys, job)
    now, fields, reason = found
    if fields.get("state") != State.QUEUED:
        return sentences(Facts(now, fields))
    place, head, lines_before, closing = yield _line(keys, tenant, job, fields)
    is_behind = head is not None and head != job
    head_fields = (yield _job(keys, head))[1] if is_behind else {}
    nodes = yield from _flows.nodes(keys)
    return sentences(
        Facts(now, fields, place, head if is_behind else None, head_fields, closing, lines_before, reason, tuple(nodes))
    )


def sentences(facts: Facts) -> list[str]:
    """What to tell, the most telling first."""
    job, now = facts.job, facts.now
    attempt = int(job.get("runs") or 0)
    match State(job["state"]):
        case State.FINISHED:
            return [f"It has ended with outcome {job.get('outcome', '')}."]
        case State.RUNNING:
            told = [f"Node {job.get('node')} has run it for {_since(job, 'started_at', now)} (attempt {attempt})."]
        case State.STARTING:
            told = [f"Node {job.get('node')} has been getting its sandbox ready for {_since(job, 'claimed_at', now)}."]
        case State.QUEUED:
            told = [_behind(facts) if facts.head else _first(facts), *_before(facts)]
    if job.get("cancel_requested") not in (None, "", "0"):
        told.append("Its end was asked for; it ends when its processes are gone.")
    return told


def _behind(facts: Facts) -> str:
    head, session, fields = facts.head, facts.job.get("session"), facts.head_fields
    others = f" and {facts.place - 1} more" if facts.place > 1 else ""
    if facts.is_closing:
        return f"Session {session} is being closed; the job runs in a new sandbox when job {head} has ended."
    match fields.get("state"):
        case State.RUNNING:
            how = f"which node {fields.get('node')} has run for {_since(fields, 'started_at', facts.now)}"
        case State.STARTING:
            how = f"for which node {fields.get('node')} is getting the sandbox ready"
        case _:
            how = "which waits itself"
    return f"It waits in session {session} behind job {head}, {how}{others}."


def _first(facts: Facts) -> str:
    job, queue = facts.job, facts.job.get("queue", "")
    wait_s = float(job.get("not_before") or 0) - facts.now
    if wait_s > 0:
        return f"It is tried again in {wait_s:.1f} s."
    if job.get("parked") not in (None, ""):
        return f"Tenant {job.get('tenant')} runs as many jobs as it may; it goes on when one of them ends."
    if not any(node.state in ("up", "draining") for node in facts.nodes):
        return "No worker is up; it waits for one."
    before = facts.lines_before
    return f"It is next in queue {queue}." if before == 0 else f"{before} are before it in queue {queue}."


def _before(facts: Facts) -> list[str]:
    """What has happened to it so far."""
    job, told = facts.job, []
    runs, starts = int(job.get("runs") or 0), int(job.get("starts") or 0)
    if runs:
        reason = facts.retried_reason
        told.append(f"Attempt {runs} was given up." + (f" {MESSAGES.get(reason, reason)}" if reason else ""))
    if starts:
        told.append(f"Getting its sandbox ready has failed {'once' if starts == 1 else f'{starts} times'}.")
    if not runs and job.get("expires_at"):
        told.append(f"It expires in {max(0.0, float(job['expires_at']) - facts.now):.0f} s unless it starts by then.")
    return told


def _since(fields: Mapping[str, str], name: str, now: float) -> str:
    return duration_text(round(max(0.0, now - float(fields.get(name) or now)), 1))


def _job(keys: Keys, job: str) -> Query[tuple[float, dict[str, str], str | None]]:
    """Redis' time, the job's fields, and the reason of a retry if that is the newest event."""

    def _parse(replies: list[Any]) -> tuple[float, dict[str, str], str | None]:
        (seconds, micros), values, newest = replies
        fields = {name: text_of(v) for name, v in zip(_FIELDS, values, strict=True) if v is not None}
        return int(seconds) + int(micros) / 1e6, fields, _reads.retried_reason(newest)

    commands = (("TIME",), ("HMGET", keys.job(job), *_FIELDS), ("XREVRANGE", keys.events(job), "+", "-", "COUNT", 1))
    return Query(commands, _parse)


def _line(keys: Keys, tenant: str, job: str, fields: Mapping[str, str]) -> Query[tuple[int, str | None, int, bool]]:
    """Place in the session, the session's first job, lines before in the queue, and whether the session is closing."""
    session = fields.get("session") or ""
    line = keys.line(job, tenant, session or None)
    commands = (
        ("ZRANK", keys.waiting(fields.get("queue", "")), line),
        ("LPOS", keys.pending(tenant, session), job),
        ("LINDEX", keys.pending(tenant, session), 0),
        ("HGET", keys.session(tenant, session), "closing"),
    )

    def _parse(replies: list[Any]) -> tuple[int, str | None, int, bool]:
        rank, place, head, closing = replies
        return int(place or 0), text_of(head) if head else None, int(rank or 0), bool(closing)

    return Query(commands, _parse)
