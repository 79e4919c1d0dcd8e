"""What is who watches Celery's events (Flower) told of a job, given its record and what was told before?

A job shows under its own id, with the state that its record has and the record's own times: also one that waits behind
others of its session, that a thread continued with, or that ended without ever being a task of Celery's.

| record | event | Flower's state |
|---|---|---|
| queued | task-sent | PENDING |
| starting | task-received | RECEIVED |
| running | task-started | STARTED |
| queued again after a claim | task-retried | RETRY |
| finished: ok, or the program's own failure | task-succeeded | SUCCESS, the outcome as result |
| finished: rejected, lost, infra | task-failed | FAILURE |
| finished: cancelled, expired | task-revoked | REVOKED |
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from leasebox.contract.queues import TASK_NAME
from leasebox.contract.result import Outcome

FIELDS = (
    "state", "kind", "tenant", "session", "display_name", "claims", "runs", "node", "submitted_at", "claimed_at",
    "started_at", "finished_at", "outcome", "exit_code",
)  # fmt: skip
"""Of the record; none of them holds code, input, values of the environment or secrets."""
INTERNAL_KIND = "file"
"""Transfers of files are jobs of the machinery; lists of jobs leave them out, too."""

_GIVEN_BACK = {"exception": "given back, and queued again"}
_REVOKED = frozenset({Outcome.CANCELLED, Outcome.EXPIRED})
_FAILED = frozenset({Outcome.REJECTED, Outcome.LOST, Outcome.INFRA})


@dataclass(frozen=True, slots=True)
class Told:
    """What was told last of a job."""

    state: str
    claims: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of Celery's: `task-started` and the like.

    Attributes:
        node: Whose worker it is of; "" = of none: the job was with no worker then.
        at: Unix seconds, by Redis' clock.
    """

    type: str
    node: str
    at: float
    fields: Mapping[str, str | float] = field(default_factory=dict)


def events_of(job: str, record: Mapping[str, str], told: Told | None, seen_at: float) -> tuple[list[Event], Told]:
    """What is new: the events, in order, and what is told with them.

    Args:
        record: `FIELDS` of the record, "" for each that is missing; one without a state is gone.
        told: None if nothing was told of this job yet.
        seen_at: When the record was read, unix seconds; for changes whose time it does not hold.
    """
    now = Told(record["state"], int(record["claims"] or 0), record["node"])
    if not now.state or record["kind"] == INTERNAL_KIND or now == told:
        return [], now
    common: dict[str, str | float] = {
        "uuid": job,
        "root_id": job,
        "name": TASK_NAME,
        "args": record["display_name"],
        "kwargs": _kwargs(record),
        "retries": max(0, int(record["runs"] or 0) - (now.state in {"running", "finished"})),
    }
    news = _news(record, now, told, seen_at)
    return [Event(event.type, event.node, event.at, {**common, **event.fields}) for event in news], now


def _news(record: Mapping[str, str], now: Told, told: Told | None, seen_at: float) -> Iterator[Event]:
    if told is None:
        yield Event("task-sent", "", _time(record, "submitted_at"), {"queue": "", "exchange": "", "routing_key": ""})
    before = told or Told("queued")
    is_new_claim = now.claims > before.claims
    if now.state == "queued":
        if is_new_claim or before.state != "queued":
            yield Event("task-retried", before.node, seen_at, _GIVEN_BACK)
        return
    if is_new_claim and before.state != "queued":
        yield Event("task-retried", before.node, _time(record, "claimed_at"), _GIVEN_BACK)
    yield from _claim(record, now, before, is_new_claim=is_new_claim)
    if now.state == "finished":
        yield _end(record, now)


def _claim(record: Mapping[str, str], now: Told, before: Told, *, is_new_claim: bool) -> Iterator[Event]:
    """The events of the claim that the record names; none if it was taken back before the job ended."""
    if not now.node:
        return
    claimed_at, started_at = _time(record, "claimed_at"), _time(record, "started_at")
    if is_new_claim:
        yield Event("task-received", now.node, claimed_at)
    if started_at >= claimed_at and (is_new_claim or before.state == "starting"):
        yield Event("task-started", now.node, started_at)


def _end(record: Mapping[str, str], now: Told) -> Event:
    outcome, at = record["outcome"], _time(record, "finished_at")
    started_at = _time(record, "started_at")
    has_run = bool(now.node) and started_at >= _time(record, "claimed_at") > 0
    code = record["exit_code"]
    said: dict[str, str | float] = {"result": f"{outcome}, exit code {code}" if code not in ("", "0") else outcome}
    if has_run:
        said["runtime"] = max(0.0, at - started_at)
    if outcome in _REVOKED:
        kind = "task-revoked"
    elif outcome in _FAILED:
        kind, said["exception"] = "task-failed", outcome
    else:
        kind = "task-succeeded"
    return Event(kind, now.node, at, said)


def _kwargs(record: Mapping[str, str]) -> str:
    return f"tenant={record['tenant']}" + (f" session={record['session']}" if record["session"] else "")


def _time(record: Mapping[str, str], name: str) -> float:
    return float(record[name] or 0)
