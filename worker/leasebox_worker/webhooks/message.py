"""What is told of a job or a batch that has ended? The same bytes at every attempt, made of what its records hold."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import redis

from leasebox.contract.keys import Keys
from leasebox.contract.telemetry import traces

MAX_RESULT_BYTES = 64 << 10
"""A longer Result is left out, as in the `finished` event; the receiver asks for it by the job's id."""
_JOB = (
    "tenant", "callback_url", "outcome", "session", "profile", "language", "batch", "metadata", "submitted_at",
    "started_at", "finished_at", "traceparent",
)  # fmt: skip
_BATCH = ("tenant", "callback_url", "name", "total", "done", "by_outcome", "cancelled", "created_at", "finished_at")


@dataclass(frozen=True, slots=True)
class Message:
    """What to send.

    Attributes:
        id: Of the job, the batch or the test.
        is_test: It tells of nothing.
        traceparent: Of the trace that the job belongs to; the receiver gets it too.
    """

    id: str
    url: str
    body: bytes
    is_test: bool = False
    traceparent: str | None = None


def read(client: redis.Redis, keys: Keys, member: str) -> Message | None:
    """The message for a member of the outbox; None = its record was forgotten.

    Raises:
        redis.RedisError: Unchanged.
    """
    kind = next((name for name, start in _starts(keys).items() if member.startswith(start)), "job.finished")
    subject = member.removeprefix(_starts(keys).get(kind, ""))
    if kind == "job.finished":
        found = _fields(client, keys.job(subject), _JOB)
        data = {} if not found.get("tenant") else _job(subject, found, _result(client, keys, subject))
    else:
        found = _fields(client, member, _BATCH)
        data = _batch(subject, found) if kind == "batch.finished" else {}
    if not found.get("tenant") or not found.get("callback_url"):
        return None
    ended = datetime.fromtimestamp(float(found["finished_at"]), UTC).isoformat()
    body = json.dumps({"type": kind, "timestamp": ended, "data": data}, separators=(",", ":"))
    traceparent = traces.checked(found.get("traceparent"))
    return Message(subject, found["callback_url"], body.encode(), is_test=kind == "test", traceparent=traceparent)


def _starts(keys: Keys) -> dict[str, str]:
    return {"batch.finished": keys.batch(""), "test": keys.webhook_test("")}


def _fields(client: redis.Redis, key: str, names: tuple[str, ...]) -> dict[str, str]:
    values = client.hmget(key, list(names))
    return {
        name: value.decode() for name, value in zip(names, values, strict=True) if isinstance(value, bytes) and value
    }


def _job(job: str, found: dict[str, str], result: object) -> dict[str, object]:
    return {
        "job": job,
        "outcome": found.get("outcome"),
        **{name: found.get(name) for name in ("session", "profile", "language", "batch")},
        "metadata": json.loads(found.get("metadata") or "{}"),
        **{name: _time(found, name) for name in ("submitted_at", "started_at", "finished_at")},
        "result": result,
    }


def _batch(batch: str, found: dict[str, str]) -> dict[str, object]:
    return {
        "batch": batch,
        "name": found.get("name"),
        "total": int(found.get("total") or 0),
        "done": int(found.get("done") or 0),
        "by_outcome": json.loads(found.get("by_outcome") or "{}"),
        "cancelled": found.get("cancelled") == "1",
        **{name: _time(found, name) for name in ("created_at", "finished_at")},
    }


def _time(found: dict[str, str], name: str) -> float | None:
    return float(found[name]) if found.get(name) else None


def _result(client: redis.Redis, keys: Keys, job: str) -> object:
    if client.strlen(keys.meta(job)) > MAX_RESULT_BYTES:
        return None
    text = client.get(keys.meta(job))
    if text is None:
        return None
    meta = json.loads(text)
    value: dict[str, object] = meta["result"]
    return value if meta["status"] == "SUCCESS" else value["result"]
