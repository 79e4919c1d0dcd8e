"""Which Redis commands answer a question, and how their replies become values; no input or output of its own."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec import Struct

from leasebox._stream import PRIMING_ENTRIES, Entry, EventReader
from leasebox._submit import Profile, parse_profile
from leasebox.contract.errors import UnknownJob
from leasebox.contract.keys import Keys
from leasebox.contract.queues import Priority
from leasebox.contract.result import JobStatus, Outcome, Result, State
from leasebox.contract.scripts import Call

A = TypeVar("A")
Argument = str | bytes | int | float
Fields = Mapping[str, str]

MAX_ENTRIES = 256
SILENT_AFTER_S = 15.0
"""Source: PROTOCOL.md, timers: reclaim."""
JOB_FIELDS = (
    "state", "outcome", "queue", "session", "node", "runs", "submitted_at", "started_at", "finished_at",
    "cancel_requested", "profile", "language", "priority", "metadata", "tenant", "kind",
)  # fmt: skip


class Query(Struct, Generic[A], frozen=True):
    """Commands that are sent in one trip, and what their replies mean.

    Attributes:
        takes_refusals: Whether `parse` copes with an error in the place of a reply; else the first one is raised.
    """

    commands: tuple[tuple[Argument, ...], ...]
    parse: Callable[[list[Any]], A]
    takes_refusals: bool = False

    def meaning(self, replies: list[Any]) -> A:
        """What the replies to all its commands mean.

        Raises:
            redis.RedisError: A command was refused, and that is no answer here.
        """
        refused = None if self.takes_refusals else next((r for r in replies if isinstance(r, Exception)), None)
        if refused is not None:
            raise refused
        return self.parse(replies)


class Ahead(Struct, Generic[A], frozen=True):
    """Calls that are sent in one trip; the flow may go on while Redis works.

    Args:
        behind: What the `Ahead` before was answered with: in the same order. The answer is what `Landed` wants.
    """

    calls: tuple[Call[A], ...]
    behind: Any = None


class Landed(Struct, frozen=True):
    """Wait for the answers to the oldest `Ahead` without; a call that failed answers with its error, in its place."""

    sent: Any


Step = Query[Any] | Call[Any] | Ahead[Any] | Landed
Flow = Generator[Step, Any, A]
"""A procedure that yields what it wants to know and is sent the answer; written once for both worlds."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node as it last reported; `heartbeat` is a counter, not a time, `silent_s` since when, by Redis' clock."""

    name: str
    heartbeat: int
    silent_s: float
    fields: Mapping[str, str]

    @property
    def state(self) -> str:
        """`up`, `draining`, `silent` (its jobs are about to be given to others) or `dead` (they have been)."""
        if self.fields.get("dead"):
            return "dead"
        if self.silent_s > SILENT_AFTER_S:
            return "silent"
        return "draining" if self.fields.get("draining") else "up"


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One class of jobs: all queued jobs, runnable lines, wake-ups not yet taken, and how many jobs may queue.

    `max_jobs` is None until a node has published it.
    """

    name: str
    queued: int
    waiting_lines: int
    messages: int
    max_jobs: int | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What `doctor` looks at; 0 and "" where the server does not tell."""

    version: str
    is_valkey: bool
    aof_enabled: bool
    appendfsync: str
    eviction: str
    used_memory_bytes: int
    max_memory_bytes: int
    role: str = "master"
    is_cluster: bool = False
    writes_aof: bool = True
    clients: int = 0
    max_clients: int = 0


def text_of(value: Any) -> str:
    """Decode a reply that may be bytes or text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def fields_of(reply: Any) -> dict[str, str]:
    """Decode the reply to HGETALL, which is a map or a flat list by the version of the client."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
    return {text_of(name): text_of(value) for name, value in pairs}


def no_job(job: str) -> UnknownJob:
    """The refusal of an id that this tenant has no job of."""
    return UnknownJob(
        f"no job {job}", hint="finished jobs are forgotten after LEASEBOX_RESULT_TTL_S; is the tenant right?"
    )


def job_fields(keys: Keys, job: str) -> Query[dict[str, str]]:
    """The record's fields that readers need; empty for an unknown job."""

    def _parse(replies: list[Any]) -> dict[str, str]:
        named = zip(JOB_FIELDS, replies[0], strict=True)
        return {name: text_of(value) for name, value in named if value is not None}

    return Query((("HMGET", keys.job(job), *JOB_FIELDS),), _parse)


def positions(keys: Keys, job: str, fields: Fields) -> Query[int | None]:
    """How many are before a queued job: in its line, plus the lines before that, runnable or of its full tenant."""
    tenant, session = fields.get("tenant", ""), fields.get("session") or None
    line = keys.line(job, tenant, session)
    commands: tuple[tuple[Argument, ...], ...] = (
        ("ZRANK", keys.waiting(fields.get("queue", "")), line),
        ("ZRANK", keys.parked(tenant), line),
    )
    if session:
        commands = (*commands, ("LPOS", keys.pending(tenant, session), job))
    return Query(commands, lambda replies: sum(int(reply) for reply in replies if reply is not None))


def status_of(job: str, fields: Fields, position: int | None = None) -> JobStatus:
    """Make the status from the record's fields; an attempt that has not started yet counts as the next one."""
    state = State(fields["state"])
    runs = int(fields.get("runs") or 0)
    return JobStatus(
        id=job,
        state=state,
        outcome=Outcome(fields["outcome"]) if fields.get("outcome") else None,
        queue=fields.get("queue", ""),
        position=position if state is State.QUEUED else None,
        session=fields.get("session") or None,
        node=fields.get("node") or None,
        attempt=max(1, runs if state in (State.RUNNING, State.FINISHED) else runs + 1),
        submitted_at=float(fields.get("submitted_at") or 0),
        started_at=_time(fields, "started_at"),
        finished_at=_time(fields, "finished_at"),
        cancel_requested=fields.get("cancel_requested", "") not in ("", "0"),
        profile=fields.get("profile") or None,
        language=fields.get("language") or None,
        priority=Priority(fields.get("priority") or Priority.DEFAULT),
        metadata=json.loads(fields.get("metadata") or "{}"),
    )


def _time(fields: Fields, name: str) -> float | None:
    return float(fields[name]) if fields.get(name) else None


class Place(Struct, frozen=True):
    """Where a list of jobs goes on: behind this job, submitted at this time (as Redis writes the score)."""

    score: str
    job: str


def recent(keys: Keys, tenant: str, behind: Place | None, count: int) -> Query[list[Place]]:
    """The tenant's jobs, the newest first; jobs that come meanwhile move none of them."""
    highest = behind.score if behind is not None else "+inf"
    # Those of the same instant stand in the reverse order of their ids; the first of them were listed already.
    command = ("ZREVRANGEBYSCORE", keys.recent(tenant), highest, "-inf", "WITHSCORES", "LIMIT", 0, count)

    def _parse(replies: list[Any]) -> list[Place]:
        flat = replies[0]
        pairs = flat if flat and isinstance(flat[0], tuple | list) else zip(flat[::2], flat[1::2], strict=True)
        found = [Place(_score(score), text_of(job)) for job, score in pairs]
        return [p for p in found if behind is None or (float(p.score), p.job) < (float(behind.score), behind.job)]

    return Query((command,), _parse)


def _score(value: Any) -> str:
    return repr(float(value))


def many_fields(keys: Keys, jobs: Sequence[str]) -> Query[list[dict[str, str]]]:
    """`job_fields` of several jobs in one trip."""
    queries = [job_fields(keys, job) for job in jobs]
    commands = tuple(query.commands[0] for query in queries)
    return Query(commands, lambda replies: [q.parse([r]) for q, r in zip(queries, replies, strict=True)])


def result(keys: Keys, job: str) -> Query[Result | None]:
    """The kept Result of a finished job, from where Celery's result backend looks."""

    return Query((("GET", keys.meta(job)),), lambda replies: _kept_result(replies[0]))


def results(keys: Keys, jobs: Sequence[str]) -> Query[list[Result | None]]:
    """`result` of several jobs in one trip."""
    commands = (("MGET", *map(keys.meta, jobs)),) if jobs else ()
    return Query(commands, lambda replies: [_kept_result(reply) for reply in (replies[0] if replies else ())])


def _kept_result(text: Any) -> Result | None:
    if text is None:
        return None
    meta = json.loads(text)
    value = meta["result"]
    return Result.model_validate(value if meta["status"] == "SUCCESS" else value["result"])


def priming(keys: Keys, reader: EventReader) -> Query[list[Entry]]:
    """The entries that `EventReader.prime` takes."""
    command = ("XREVRANGE", keys.events(reader.job), reader.cursor, "-", "COUNT", PRIMING_ENTRIES)
    return Query((command,), lambda replies: list(replies[0] or ()))


def next_entries(keys: Keys, reader: EventReader, block_ms: int, count: int = MAX_ENTRIES) -> Query[list[Entry]]:
    """At most `count` entries after the cursor; waits up to `block_ms` for the first, 0 = not at all."""
    return stream_entries(keys.events(reader.job), reader.cursor, block_ms, count)


def stream_entries(stream: str, cursor: str, block_ms: int, count: int) -> Query[list[Entry]]:
    """At most `count` entries of a stream after a cursor; waits up to `block_ms` for the first, 0 = not at all."""
    block: tuple[Argument, ...] = ("BLOCK", block_ms) if block_ms > 0 else ()
    return Query((("XREAD", "COUNT", count, *block, "STREAMS", stream, cursor),), _entries)


def _entries(replies: list[Any]) -> list[Entry]:
    streams = replies[0]
    if not streams:
        return []
    if isinstance(streams, Mapping):
        ((_, entries),) = streams.items()
        return list(entries[0]) if entries and isinstance(entries[0], list) else list(entries)
    return list(streams[0][1])


def profiles(keys: Keys) -> Query[dict[str, Profile]]:
    """The profiles that nodes published."""

    def _parse(replies: list[Any]) -> dict[str, Profile]:
        return {name: parse_profile(name, text) for name, text in sorted(fields_of(replies[0]).items())}

    return Query((("HGETALL", keys.profiles()),), _parse)


def node_names(keys: Keys) -> Query[list[tuple[str, int]]]:
    """Nodes and their heartbeat counters."""

    def _parse(replies: list[Any]) -> list[tuple[str, int]]:
        flat = replies[0]
        pairs = flat if flat and isinstance(flat[0], tuple | list) else zip(flat[::2], flat[1::2], strict=True)
        return sorted((text_of(name), int(float(score))) for name, score in pairs)

    return Query((("ZRANGE", keys.nodes(), 0, -1, "WITHSCORES"),), _parse)


def node_fields(keys: Keys, named: Sequence[tuple[str, int]]) -> Query[list[NodeStatus]]:
    """What each of the nodes last reported."""

    def _parse(replies: list[Any]) -> list[NodeStatus]:
        now = int(replies[0][0]) + int(replies[0][1]) / 1e6
        records = [fields_of(reply) for reply in replies[1:]]
        return [
            NodeStatus(name, beat, max(0.0, now - float(record.get("seen_at") or 0)), record)
            for (name, beat), record in zip(named, records, strict=True)
        ]

    return Query((("TIME",), *(("HGETALL", keys.node(name)) for name, _ in named)), _parse)


def queues(keys: Keys) -> Query[list[QueueStatus]]:
    """The three shared queues."""
    names = [keys.queue(priority) for priority in Priority]
    commands: list[tuple[Argument, ...]] = []
    for name in names:
        commands += [("SCARD", keys.queued(name)), ("ZCARD", keys.waiting(name)), ("LLEN", name)]

    commands.append(("HGET", keys.settings(), "queue_max_jobs"))

    def _parse(replies: list[Any]) -> list[QueueStatus]:
        counts, bound = replies[:-1], int(replies[-1]) if replies[-1] else None
        return [
            QueueStatus(name, int(counts[3 * i]), int(counts[3 * i + 1]), int(counts[3 * i + 2]), bound)
            for i, name in enumerate(names)
        ]

    return Query(tuple(commands), _parse)


def server_facts() -> Query[ServerFacts]:
    """Version, persistence and memory of the server."""

    def _parse(replies: list[Any]) -> ServerFacts:
        if isinstance(replies[0], Exception):
            raise replies[0]
        info = replies[0] if isinstance(replies[0], Mapping) else _info(text_of(replies[0]))
        get = {text_of(k): text_of(v) for k, v in info.items()}
        return ServerFacts(
            version=get.get("valkey_version") or get.get("redis_version", "0"),
            is_valkey="valkey_version" in get,
            aof_enabled=get.get("aof_enabled") == "1",
            appendfsync=_setting(replies[1]),
            eviction=get.get("maxmemory_policy", ""),
            used_memory_bytes=int(get.get("used_memory") or 0),
            max_memory_bytes=int(get.get("maxmemory") or 0),
            role=get.get("role", ""),
            is_cluster=get.get("cluster_enabled") == "1",
            writes_aof=get.get("aof_last_write_status", "ok") == "ok",
            clients=int(get.get("connected_clients") or 0),
            max_clients=int(get.get("maxclients") or 0),
        )

    return Query((("INFO",), ("CONFIG", "GET", "appendfsync")), _parse, takes_refusals=True)


def clock() -> Query[float]:
    """The server's time, as unix seconds."""
    return Query((("TIME",),), lambda replies: int(replies[0][0]) + int(replies[0][1]) / 1e6)


def _info(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def _setting(reply: Any) -> str:
    if isinstance(reply, Exception):
        return "unknown"  # managed servers refuse CONFIG
    values = fields_of(reply)
    return next(iter(values.values()), "unknown")


def forget(keys: Sequence[str]) -> Query[None]:
    """Remove contents that nobody names any more."""
    return Query(tuple(("DEL", key) for key in keys), lambda _: None)
