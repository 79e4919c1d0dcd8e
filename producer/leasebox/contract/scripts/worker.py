"""Which scripts does a thread of a worker call? acquire bind start emit taken settle give_up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, maybe, number, reader, text
from leasebox.contract.wire import ENDINGS, Endings

START_TIMEOUT_S: Final = 120.0
OVERDUE_GRACE_S: Final = 10.0
BACKOFF_S: Final = (1.0, 5.0, 25.0)
MAX_STARTS: Final = 3
FIRST_SEQ: Final = 16
"""Of a claim's first chunk; smaller ones are left to the events that scripts write."""


class Why(StrEnum):
    """Why a claim is given up. All but START_FAILED are losses of the node or the sandbox."""

    START_FAILED = "start_failed"
    DRAIN = "drain"
    SANDBOX_DIED = "sandbox_died"
    NODE_LOST = "node_lost"
    RESTARTED = "restarted"
    DISOWNED = "disowned"
    OVERDUE = "overdue"


class Chunk(NamedTuple):
    """A piece of output.

    Args:
        seq: From FIRST_SEQ on, rising within a claim.
        type: `stdout` or `stderr` (raw bytes), or another event (`data` is its JSON object).
    """

    seq: int
    type: str
    data: bytes


class Ending(NamedTuple):
    """How a job ended.

    Args:
        meta: The whole text of `celery-task-meta-{job}` (`wire.meta_text`).
        finished_json: Payload of the `finished` event (`wire.finished_json`).
        output_bytes: Counted against the tenant's day.
    """

    outcome: str
    meta: bytes
    finished_json: bytes
    exit_code: int | None = None
    cpu_s: float = 0.0
    output_bytes: int = 0


def acquire(
    keys: Keys,
    *,
    job: str,
    node: str,
    incarnation: str,
    lease: str,
    draining: bool = False,
    room: bool = True,
    start_timeout_s: float = START_TIMEOUT_S,
    endings: Endings = ENDINGS,
) -> Call[answers.AcquireAnswer]:
    """Claim the head of the line that a wake-up names; `room`: a place for one more sandbox is reserved."""
    args = (
        keys.names, job, node, incarnation, lease, "1" if draining else "", "1" if room else "", start_timeout_s,
        endings.text,
    )  # fmt: skip
    return Call("acquire", (keys.job(job),), args, _acquire_answer)


def bind(keys: Keys, *, job: str, lease: str, node: str, sandbox: str, why: str = "lost") -> Call[answers.BindAnswer]:
    """Give the line its new sandbox; `why` the one before is gone, if it is."""
    return Call("bind", (keys.job(job),), (keys.names, job, lease, node, sandbox, why), _bind_answer)


def start(
    keys: Keys,
    *,
    job: str,
    lease: str,
    deadline_s: float,
    frame: str,
    sandbox: str = "",
    grace_s: float = OVERDUE_GRACE_S,
) -> Call[answers.StartAnswer]:
    """Write `running`. `frame` is the id of the exec frame; `sandbox` its short name for the event."""
    args = (keys.names, job, lease, deadline_s + grace_s, frame, sandbox)
    return Call("start", (keys.job(job),), args, _start_answer)


def emit(keys: Keys, *, job: str, lease: str, claims: int, chunks: Sequence[Chunk]) -> Call[answers.EmitAnswer]:
    """Append output, each chunk once however often it is sent."""
    return Call("emit", (keys.job(job),), (keys.names, job, lease, claims, *_flat(chunks)), _emit_answer)


def taken(keys: Keys, *, job: str, lease: str, entry: str) -> Call[answers.TakenAnswer]:
    """Make room for more live input: the guest has accepted it up to the entry of this id."""
    return Call("taken", (keys.job(job),), (keys.names, job, lease, entry), _taken_answer)


def settle(
    keys: Keys,
    *,
    job: str,
    lease: str,
    end: Ending,
    last_chunks: Sequence[Chunk] = (),
    next_lease: str,
    may_continue: bool,
    sandbox_alive: bool = True,
    sandbox_reason: str = "lost",
    start_timeout_s: float = START_TIMEOUT_S,
) -> Call[answers.SettleAnswer]:
    """End the job, after the kill of what remains of it; go on with the line's next job under `next_lease`."""
    exit_code = "" if end.exit_code is None else end.exit_code
    args = (
        keys.names, job, lease, end.outcome, end.meta, end.finished_json, exit_code, end.cpu_s, next_lease,
        "1" if may_continue else "", "1" if sandbox_alive else "", sandbox_reason, start_timeout_s, end.output_bytes,
        *_flat(last_chunks),
    )  # fmt: skip
    return Call("settle", (keys.job(job),), args, _settle_answer)


def give_up(
    keys: Keys,
    *,
    job: str,
    lease: str,
    why: str,
    detail: str = "",
    endings: Endings = ENDINGS,
    backoff_s: Sequence[float] = BACKOFF_S,
    max_starts: int = MAX_STARTS,
) -> Call[answers.GiveUpAnswer]:
    """Give a claim back (see `Why`); `detail` is appended to the message if the job ends."""
    args = (keys.names, job, lease, str(why), endings.text, json.dumps(backoff_s), max_starts, detail)
    return Call("give_up", (keys.job(job),), args, _give_up_answer)


def _flat(chunks: Sequence[Chunk]) -> list[bytes | str | int]:
    return [item for chunk in chunks for item in chunk]


def _work(fields: Sequence[Any]) -> answers.Work:
    (
        job, spec, kind, tenant, session, profile, claims, runs, starts, lease, cancel, generation, must_exist, retries,
        submitted_at, claimed_at, queue, metadata, idle, age, version, name, stdin_open, traceparent,
        expired,
    ) = fields  # fmt: skip
    return answers.Work(
        job=text(job),
        spec=spec or b"",
        kind=text(kind),
        tenant=text(tenant),
        session=maybe(session),
        profile=text(profile),
        claims=claims,
        runs=runs,
        starts=starts,
        lease=text(lease),
        cancel_requested=bool(cancel),
        generation=generation,
        must_exist=bool(must_exist),
        retries=int(retries or 0),
        submitted_at=float(submitted_at),
        claimed_at=float(claimed_at),
        queue=text(queue),
        metadata_json=text(metadata) or "{}",
        idle_timeout_s=number(idle),
        max_age_s=number(age),
        contract_version=text(version),
        display_name=text(name),
        stdin_open=bool(stdin_open),
        traceparent=maybe(traceparent),
        session_expired=maybe(expired),
    )


def _claimed(*fields: Any) -> answers.Leased | answers.Cold:
    work, sandbox = _work(fields[:-1]), text(fields[-1])
    return answers.Leased(work, sandbox) if sandbox else answers.Cold(work)


def _next(again: bytes, kill: bytes, *fields: Any) -> answers.Next:
    return answers.Next(_work(fields[:-1]), text(fields[-1]), maybe(kill), bool(again))


_acquire_answer: Reader[answers.AcquireAnswer] = reader(
    {
        b"claimed": _claimed,
        b"elsewhere": lambda queue: answers.Elsewhere(text(queue)),
        b"later": lambda reason: answers.Later(text(reason)),
        b"busy": answers.Busy,
        b"done": answers.Done,
        b"gone": answers.Gone,
        b"fenced": answers.Fenced,
        b"more": answers.More,
    }
)
_bind_answer: Reader[answers.BindAnswer] = reader(
    {
        b"bound": answers.Bound,
        b"session_expired": lambda reason: answers.SessionExpired(text(reason)),
        b"lease_lost": answers.LeaseLost,
        b"gone": answers.Gone,
    }
)
_start_answer: Reader[answers.StartAnswer] = reader(
    {b"go": answers.Go, b"cancelled": answers.Cancelled, b"lease_lost": answers.LeaseLost, b"gone": answers.Gone}
)
_emit_answer: Reader[answers.EmitAnswer] = reader(
    {b"ok": lambda flag: answers.Ok(bool(flag)), b"lease_lost": answers.LeaseLost, b"gone": answers.Gone}
)
_taken_answer: Reader[answers.TakenAnswer] = reader(
    {b"ok": answers.Taken, b"lease_lost": answers.LeaseLost, b"gone": answers.Gone}
)
_settle_answer: Reader[answers.SettleAnswer] = reader(
    {
        b"next": _next,
        b"free": lambda again, kill, woken: answers.Free(text(woken), maybe(kill), bool(again)),
        b"lease_lost": answers.LeaseLost,
        b"gone": answers.Gone,
    }
)
_give_up_answer: Reader[answers.GiveUpAnswer] = reader(
    {
        b"requeued": lambda woken: answers.Requeued(text(woken)),
        b"ended": lambda outcome: answers.Ended(text(outcome)),
        b"lease_lost": answers.LeaseLost,
        b"gone": answers.Gone,
    }
)
