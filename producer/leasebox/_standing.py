"""Where does a job stand, why does it not go on, and what is to be done? Facts of one script in, a `Why` out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leasebox import _obstacles, _reads
from leasebox._obstacles import Obstacle
from leasebox._reads import Flow, NodeStatus
from leasebox.contract.keys import Keys
from leasebox.contract.result import Outcome, Result, State
from leasebox.contract.scripts import answers, looks
from leasebox.contract.sizes import duration_text
from leasebox.contract.standing import Cause, Why
from leasebox.contract.wire import MESSAGES

_OURS = frozenset({Outcome.CANCELLED, Outcome.EXPIRED, Outcome.REJECTED, Outcome.LOST, Outcome.INFRA})
"""Outcomes whose Result says in its message why; they have little or no output."""


@dataclass(frozen=True, slots=True)
class Member:
    """A job as the script saw it: the fields of its record, and its newest event where that says what it waits for."""

    id: str
    fields: Mapping[str, str]
    event: str | None = None
    event_data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision is made of; times are unix seconds of Redis' clock.

    Attributes:
        input_waits: Pieces of live input that its program has not read; None of a job without live input.
        session: Fields of its session.
        head: The session's first job, when that is another one.
        place: Jobs before it in its session; `rank` runnable lines before its own in the queue.
        running: Jobs of its tenant that are claimed, of which there may be `bound`; None = any number.
        profiles: How many profiles are published; `is_served` whether the one of the line's first job is among them.
        kept: Slots of each node that the line's first job may not have, because they are for interactive ones.
        message: Of its Result, of a job that did not end by its own code.
    """

    now: float
    job: Member
    input_waits: int | None = None
    session: Mapping[str, str] = field(default_factory=dict)
    head: Member | None = None
    place: int = 0
    rank: int = 0
    running: int = 0
    bound: int | None = None
    profiles: int = 0
    is_served: bool = False
    kept: int = 0
    nodes: Sequence[NodeStatus] = ()
    message: str = ""


def why(keys: Keys, tenant: str, job: str) -> Flow[Why]:
    """Why the job stands as it does: one script, and for a job that ended without its code's doing its Result.

    Raises:
        UnknownJob: There is no such job in this tenant.
    """
    answer = yield looks.why(keys, job=job, tenant=tenant)
    if isinstance(answer, answers.Gone):
        raise _reads.no_job(job)
    seen = json.loads(answer.json)
    message = ""
    if seen["job"].get("outcome") in _OURS:
        result: Result | None = yield _reads.result(keys, job)
        message = result.message or "" if result is not None else ""
    return explain(facts_of(job, seen, message))


def facts_of(job: str, seen: Mapping[str, Any], message: str = "") -> Facts:
    """The facts from the script's document."""
    now, head = float(seen["now"]), seen.get("head")
    return Facts(
        now=now,
        job=_member(job, seen),
        input_waits=seen.get("input_waits"),
        session=seen.get("session") or {},
        head=_member(head["id"], head) if head else None,
        place=seen.get("place", 0),
        rank=seen.get("rank", 0),
        running=seen.get("running", 0),
        bound=seen.get("bound"),
        profiles=seen.get("profiles", 0),
        is_served=bool(seen.get("is_served")),
        kept=int(seen.get("kept") or 0),
        # An empty list of Lua is an empty object in JSON.
        nodes=[_node(fields, now) for fields in seen.get("nodes") or ()],
        message=message,
    )


def _member(job: str, seen: Mapping[str, Any]) -> Member:
    kind, data = seen.get("newest") or (None, "{}")
    return Member(job, seen["job"], kind, json.loads(data))


def _node(fields: Mapping[str, str], now: float) -> NodeStatus:
    return NodeStatus(fields["name"], 0, max(0.0, now - float(fields.get("seen_at") or 0)), fields)


def explain(facts: Facts) -> Why:
    """Name the cause, tell it in sentences, and say what to do."""
    job, state = facts.job, State(facts.job.fields["state"])
    match state:
        case State.FINISHED:
            found = _ended(facts)
        case State.RUNNING:
            found = _running(facts)
        case State.STARTING:
            found = _starting(facts)
        case State.QUEUED:
            found = _behind(facts, facts.head) if facts.head else _first(facts, job)
    told = [found.sentence]
    if state is State.QUEUED:
        told += _before(facts)
    if state in (State.STARTING, State.RUNNING) and job.fields.get("cancel_requested") not in (None, "", "0"):
        told.append("Its end was asked for; it ends when its processes are gone.")
        found = Obstacle(Cause.ENDING, "", f"`leasebox result {job.id}` waits for its end.", found.node, found.since)
    return Why(
        job=job.id,
        state=state,
        cause=found.cause,
        why=told,
        next_step=found.next_step,
        outcome=Outcome(job.fields["outcome"]) if job.fields.get("outcome") else None,
        node=found.node,
        behind=facts.head.id if facts.head else None,
        before=facts.place + facts.rank if state is State.QUEUED else None,
        since=found.since,
        until=found.until,
    )


def _ended(facts: Facts) -> Obstacle:
    job = facts.job
    sentence = f"It has ended with outcome {job.fields.get('outcome', '')}."
    return Obstacle(
        Cause.ENDED, f"{sentence} {facts.message}".strip(), f"`leasebox result {job.id}` has its output and its Result."
    )


def _running(facts: Facts) -> Obstacle:
    job, fields = facts.job, facts.job.fields
    attempt, since = int(fields.get("runs") or 0), _time(fields, "started_at")
    sentence = (
        f"Node {fields.get('node')} has run it for {_since(fields, 'started_at', facts.now)} (attempt {attempt})."
    )
    feed = f"Write to it, or end its input: `POST /v1/jobs/{job.id}/stdin`, `client.job(...).write_stdin(...)`."
    if job.event == "input":
        prompt = str(job.event_data.get("prompt") or "")
        return Obstacle(Cause.INPUT, f"{sentence} It asks for input: {prompt!r}.", feed, fields.get("node"), since)
    if facts.input_waits == 0 and fields.get("stdin_eof") is None:
        waits = "Its input is open, and it has read all that was written: it may be waiting for more."
        return Obstacle(Cause.INPUT, f"{sentence} {waits}", feed, fields.get("node"), since)
    step = f"`leasebox logs -f {job.id}` follows it, `leasebox cancel {job.id}` ends it."
    return Obstacle(Cause.RUNNING, sentence, step, fields.get("node"), since)


def _starting(facts: Facts) -> Obstacle:
    fields = facts.job.fields
    lasts = _since(fields, "claimed_at", facts.now)
    return Obstacle(
        Cause.STARTING,
        f"Node {fields.get('node')} has been getting its sandbox ready for {lasts}.",
        "A warm pool (`pool` of its profile) saves most of that; one that takes minutes is in the worker's log.",
        fields.get("node"),
        _time(fields, "claimed_at"),
    )


def _behind(facts: Facts, head: Member) -> Obstacle:
    session, fields = facts.job.fields.get("session"), head.fields
    others = f" and {facts.place - 1} more" if facts.place > 1 else ""
    step = f"`leasebox cancel {head.id}` ends the job before it; jobs of other sessions run beside each other."
    if facts.session.get("closing"):
        return Obstacle(
            Cause.CLOSING,
            f"Session {session} is being closed; the job runs in a new sandbox when job {head.id} has ended.",
            step,
        )
    match fields.get("state"):
        case State.RUNNING:
            how = f"which node {fields.get('node')} has run for {_since(fields, 'started_at', facts.now)}{others}."
        case State.STARTING:
            how = f"for which node {fields.get('node')} is getting the sandbox ready{others}."
        case _:
            first = _first(facts, head)
            how, step = f"which waits itself{others}. Of that one: {first.sentence}", first.next_step or step
    return Obstacle(
        Cause.BEHIND, f"It waits in session {session} behind job {head.id}, {how}", step, fields.get("node")
    )


def _first(facts: Facts, job: Member) -> Obstacle:
    """What the first job of a line waits for."""
    fields, tenant = job.fields, job.fields.get("tenant")
    wait_s = float(fields.get("not_before") or 0) - facts.now
    if wait_s > 0:
        return Obstacle(Cause.DELAYED, f"It is tried again in {wait_s:.1f} s.", until=_time(fields, "not_before"))
    if fields.get("parked") not in (None, ""):
        counted = f" ({facts.running} of {facts.bound})" if facts.bound is not None else ""
        return Obstacle(
            Cause.QUOTA,
            f"Tenant {tenant} runs as many jobs as it may{counted}; it goes on when one of them ends.",
            "`leasebox jobs --state running` lists them; the operator's LEASEBOX_TENANTS_FILE bounds `running`.",
        )
    return _obstacles.of_nodes(_wanted(facts, fields), facts.nodes) or _turn(facts, fields)


def _wanted(facts: Facts, fields: Mapping[str, str]) -> _obstacles.Wanted:
    session = facts.session
    return _obstacles.Wanted(
        node=session.get("node") if session.get("sandbox") else None,
        session=fields.get("session"),
        profile=fields.get("profile", ""),
        # Before the first node has published any, nobody knows.
        is_served=facts.is_served or not facts.profiles,
        kept=facts.kept,
    )


def _turn(facts: Facts, fields: Mapping[str, str]) -> Obstacle:
    queue, before = fields.get("queue", ""), facts.rank
    if before:
        step = "`leasebox top` shows how fast the queue moves; more workers or slots move it faster."
        return Obstacle(Cause.TURN, f"{before} are before it in queue {queue}.", step)
    step = "It should start within seconds; if it does not, `leasebox doctor` looks at queue and nodes."
    return Obstacle(Cause.TURN, f"It is next in queue {queue}.", step)


def _before(facts: Facts) -> list[str]:
    """What has happened to it so far."""
    job, told = facts.job.fields, []
    runs, starts = int(job.get("runs") or 0), int(job.get("starts") or 0)
    if runs:
        reason = str(facts.job.event_data.get("reason") or "") if facts.job.event == "retried" else ""
        told.append(f"Attempt {runs} was given up." + (f" {MESSAGES.get(reason, reason)}" if reason else ""))
    if starts:
        told.append(f"Getting its sandbox ready has failed {'once' if starts == 1 else f'{starts} times'}.")
    if not runs and job.get("expires_at"):
        told.append(f"It expires in {max(0.0, float(job['expires_at']) - facts.now):.0f} s unless it starts by then.")
    return told


def _time(fields: Mapping[str, str], name: str) -> float | None:
    return float(fields[name]) if fields.get(name) else None


def _since(fields: Mapping[str, str], name: str, now: float) -> str:
    return duration_text(round(max(0.0, now - float(fields.get(name) or now)), 1))
