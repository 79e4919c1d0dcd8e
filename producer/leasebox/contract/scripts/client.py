"""Which scripts does a client call? submit open open_batch feed seal cancel cancel_batch close touch erase."""

from __future__ import annotations

import json
from dataclasses import dataclass

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers, client_answers
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, maybe, reader, text
from leasebox.contract.wire import ENDINGS, Endings

STDIN_MAX_BYTES = 1 << 20
STDIN_MAX_ENTRIES = 16 << 10
"""Of live input that its job has not read; each entry takes room beside its bytes."""
TOMBSTONE_TTL_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to submit.

    Args:
        job: UUID version 7.
        kind: `program`, `cell`, `command` or `file`.
        profile: None = the live session's, else `default`.
        spec: JSON; the scripts do not look into it.
        digest: Of the spec, for repeats under the same id or idempotency key.
        blobs: Ids of uploaded files that must still be there.
        wake_head: Text of the wake-up message before the delivery tag, `wake_tail` after it.
        display_name: For Flower and logs.
        traceparent: Context of the trace that it belongs to (W3C Trace Context).
        own_limits: It asks for limits of the whole sandbox, which no warm sandbox has.
        idle_timeout_s: Of the session, if the job makes it; None = the operator's. `max_age_s` likewise.
        batch_index: Place in the batch; None = in order of arrival.
    """

    job: str
    kind: str
    tenant: str
    session: str | None
    profile: str | None
    priority: str
    spec: bytes
    digest: str
    idempotency_key: str | None = None
    must_exist: bool = False
    expires_in_s: float | None = None
    retries: int = 0
    stdin_open: bool = False
    batch: str | None = None
    callback_url: str | None = None
    blobs: tuple[str, ...] = ()
    idle_timeout_s: float | None = None
    max_age_s: float | None = None
    result_ttl_s: float = 86400.0
    events_ttl_s: float = 600.0
    wake_head: bytes = b""
    wake_tail: bytes = b""
    metadata_json: str = "{}"
    language: str = "python"
    contract_version: str = "1"
    display_name: str = ""
    own_limits: bool = False
    traceparent: str | None = None
    batch_index: int | None = None
    batch_key: str | None = None


def submit(keys: Keys, *, record: NewJob) -> Call[client_answers.SubmitAnswer]:
    """Accept a job: record, line, quota, `queued` event and wake-up in one step."""
    r = record
    fields: list[bytes | str | int | float] = [
        "kind", r.kind, "spec", r.spec, "retries", r.retries, "stdin_open", _flag(r.stdin_open),
        "callback", _flag(r.callback_url is not None), "events_ttl_s", r.events_ttl_s, "metadata", r.metadata_json,
        "language", r.language, "contract_version", r.contract_version, "display_name", r.display_name,
        "own_limits", _flag(r.own_limits),
    ]  # fmt: skip
    if r.callback_url is not None:
        fields += ["callback_url", r.callback_url]
    if r.traceparent is not None:
        fields += ["traceparent", r.traceparent]
    if r.batch_index is not None:
        fields += ["batch_index", r.batch_index]
    if r.batch_key is not None:
        fields += ["batch_key", r.batch_key]
    args = (
        keys.names, r.job, keys.line(r.job, r.tenant, r.session), r.tenant, r.session or "", _flag(r.must_exist),
        r.digest, r.idempotency_key or "", _or_empty(r.expires_in_s), r.batch or "",
        json.dumps(r.blobs) if r.blobs else "", r.profile or "", _or_empty(r.idle_timeout_s),
        _or_empty(r.max_age_s), r.result_ttl_s,
        r.priority, r.wake_head, r.wake_tail, *fields,
    )  # fmt: skip
    return Call("submit", (keys.job(r.job),), args, _submit_answer)


def open_session(
    keys: Keys,
    *,
    tenant: str,
    session: str,
    profile: str | None,
    idle_timeout_s: float | None = None,
    max_age_s: float | None = None,
    must_exist: bool = False,
) -> Call[client_answers.OpenAnswer]:
    """Make or find a session; one that is found keeps its times. None = the operator's."""
    args = (
        keys.names, f"{tenant}/{session}", tenant, profile or "", _or_empty(idle_timeout_s), _or_empty(max_age_s),
        _flag(must_exist),
    )  # fmt: skip
    return Call("open", (keys.session(tenant, session),), args, _open_answer)


def feed(
    keys: Keys, *, job: str, tenant: str, writer: str, n: int, data: bytes, eof: bool = False
) -> Call[client_answers.FeedAnswer]:
    """Append to the input of a job; `n` counts from 1 and rises with each chunk of this writer."""
    args = (keys.names, job, tenant, writer, n, data, _flag(eof), STDIN_MAX_BYTES, STDIN_MAX_ENTRIES)
    return Call("feed", (keys.job(job),), args, _feed_answer)


def open_batch(
    keys: Keys, *, batch: str, tenant: str, name: str | None, result_ttl_s: float, callback_url: str | None = None
) -> Call[client_answers.OpenBatchAnswer]:
    """Make a batch without jobs; one that is there already stays as it is."""
    args = (keys.names, batch, tenant, name or "", result_ttl_s, callback_url or "")
    return Call("open_batch", (keys.batch(batch),), args, _batch_opened)


def seal(keys: Keys, *, batch: str, tenant: str | None) -> Call[client_answers.SealAnswer]:
    """No job comes to the batch any more. `tenant` None: the reaper asks."""
    return Call("seal", (keys.batch(batch),), (keys.names, batch, tenant or ""), _seal_answer)


def cancel(
    keys: Keys, *, job: str, tenant: str, reason: str = "cancelled", endings: Endings = ENDINGS
) -> Call[client_answers.CancelAnswer]:
    """End a queued job, or ask the holder of a claimed one to kill it."""
    return Call("cancel", (keys.job(job),), (keys.names, job, tenant, endings.text, reason), _cancel_answer)


def cancel_batch(
    keys: Keys, *, batch: str, tenant: str, place: int = 0, endings: Endings = ENDINGS
) -> Call[client_answers.CancelBatchAnswer]:
    """Cancel 64 jobs of a batch from `place` on; go on at the answer's `next_place`."""
    return Call("cancel_batch", (keys.batch(batch),), (keys.names, batch, tenant, endings.text, place), _batch_answer)


def close(
    keys: Keys,
    *,
    tenant: str,
    session: str,
    reason: str = "closed",
    endings: Endings = ENDINGS,
    tombstone_ttl_s: float = TOMBSTONE_TTL_S,
) -> Call[client_answers.CloseAnswer]:
    """End a session: queued jobs are cancelled, a claimed one is asked to end."""
    args = (keys.names, f"{tenant}/{session}", reason, endings.text, tombstone_ttl_s)
    return Call("close", (keys.session(tenant, session),), args, _close_answer)


def touch(keys: Keys, *, tenant: str, session: str) -> Call[client_answers.TouchAnswer]:
    """Start the session's idle time anew."""
    return Call("touch", (keys.session(tenant, session),), (keys.names, f"{tenant}/{session}"), _touch_answer)


def erase(keys: Keys, *, job: str, tenant: str) -> Call[client_answers.EraseAnswer]:
    """Forget a finished job before its time."""
    return Call("erase", (keys.job(job), keys.meta(job)), (keys.names, job, tenant), _erase_answer)


def _flag(value: bool) -> str:
    return "1" if value else ""


def _or_empty(value: float | int | None) -> str | float | int:
    return "" if value is None else value


def _session_record(created: bool, *fields: bytes | int) -> client_answers.SessionRecord:
    state, profile, node, generation, created_at, used_at, idle, age, pending, executions, code, reason, since, lost = (
        fields
    )
    idle_s, age_s = float(idle), float(age)
    return client_answers.SessionRecord(
        created=created,
        state=_text(state),
        profile=_text(profile),
        node=_text(node) or None,
        generation=int(generation),
        created_at=float(created_at),
        used_at=float(used_at),
        expires_at=min(float(used_at) + idle_s, float(since) + age_s),
        idle_timeout_s=idle_s,
        max_age_s=age_s,
        pending=int(pending),
        executions=int(executions),
        last_exit_code=int(code) if code else None,
        close_reason=_text(reason) or None,
        lost_reason=_text(lost) or None,
    )


def _pace(bound: bytes, left: bytes, reset_s: bytes) -> client_answers.SubmitPace | None:
    return client_answers.SubmitPace(int(bound), int(left), float(reset_s)) if bound else None


def _quota(which: bytes, after: bytes, bound: bytes) -> client_answers.Quota:
    return client_answers.Quota(text(which), float(after), float(bound))


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_submit_answer: Reader[client_answers.SubmitAnswer] = reader(
    {
        b"accepted": lambda job, place, queue, *pace: client_answers.Accepted(
            text(job), place, bool(queue), pace=_pace(*pace)
        ),
        b"existing": lambda job, state, batch: client_answers.Existing(text(job), text(state), text(batch)),
        b"conflict": lambda job: client_answers.Conflict(text(job)),
        b"quota": _quota,
        b"full": lambda after, queued, bound: client_answers.Full(float(after), queued, int(bound)),
        b"profile_differs": lambda profile: client_answers.ProfileDiffers(text(profile)),
        b"refused": lambda reason: client_answers.Refused(text(reason)),
        b"blob_gone": lambda blob: client_answers.BlobGone(text(blob)),
        b"expired": lambda reason: client_answers.Expired(text(reason) or "lost"),
        b"beyond": lambda field, bound: client_answers.Beyond(text(field), float(bound)),
    }
)
_open_answer: Reader[client_answers.OpenAnswer] = reader(
    {
        b"created": lambda *fields: _session_record(True, *fields),
        b"found": lambda *fields: _session_record(False, *fields),
        b"profile_differs": lambda profile: client_answers.ProfileDiffers(text(profile)),
        b"expired": lambda reason: client_answers.Expired(text(reason) or "lost"),
        b"quota": _quota,
        b"beyond": lambda field, bound: client_answers.Beyond(text(field), float(bound)),
    }
)
_feed_answer: Reader[client_answers.FeedAnswer] = reader(
    {
        b"ok": client_answers.Fed,
        b"wrong_state": lambda state: client_answers.WrongState(text(state)),
        b"full": lambda after: client_answers.InputFull(float(after)),
        b"gone": answers.Gone,
    }
)
_seal_answer: Reader[client_answers.SealAnswer] = reader({b"sealed": client_answers.Sealed, b"gone": answers.Gone})
_cancel_answer: Reader[client_answers.CancelAnswer] = reader(
    {
        b"cancelled": lambda _woken: answers.Cancelled(),
        b"requested": client_answers.Requested,
        b"already_finished": lambda outcome: client_answers.AlreadyFinished(text(outcome)),
        b"gone": answers.Gone,
    }
)
_erase_answer: Reader[client_answers.EraseAnswer] = reader(
    {
        b"ok": client_answers.Erased,
        b"busy": lambda state: client_answers.NotFinished(text(state)),
        b"gone": answers.Gone,
    }
)
_batch_opened: Reader[client_answers.OpenBatchAnswer] = reader(
    {b"opened": client_answers.BatchOpened, b"taken": client_answers.BatchTaken}
)
_batch_answer: Reader[client_answers.CancelBatchAnswer] = reader(
    {b"ok": lambda place: client_answers.BatchCancelled(int(place) if place else None), b"gone": answers.Gone}
)
_close_answer: Reader[client_answers.CloseAnswer] = reader(
    {
        b"closed": lambda reason, more: client_answers.Closed(text(reason), bool(more)),
        b"closing": lambda more: client_answers.Closing(bool(more)),
    }
)
_touch_answer: Reader[client_answers.TouchAnswer] = reader(
    {
        b"ok": lambda at: client_answers.Touched(float(at)),
        b"expired": lambda reason: client_answers.Expired(maybe(reason) or "lost"),
    }
)
