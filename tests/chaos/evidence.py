"""What is known of a job after a round? Its plan, its record, its events, its result: read once, judged by `check`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import redis as redis_py
from tests.chaos.plan import FaultKind, PlannedJob

from leasebox.contract.keys import Keys


@dataclass(frozen=True)
class Event:
    """One entry of a job's stream; `data` is output, `fields` what any other event tells."""

    id: tuple[int, int]
    type: str
    at: float
    data: bytes = b""
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Attempt:
    """The events from one `started` to before the next `retried`, or to the end; `number` 0: before any start."""

    number: int
    events: tuple[Event, ...]

    @property
    def stdout(self) -> bytes:
        """Everything that it wrote."""
        return b"".join(event.data for event in self.events if event.type == "stdout")


@dataclass(frozen=True)
class Case:
    """One accepted job."""

    plan: PlannedJob
    job: str
    record: Mapping[str, str]
    events: tuple[Event, ...]
    meta: Mapping[str, Any] | None

    def __str__(self) -> str:
        """Who it is, for a report."""
        session = f" of {self.plan.session}" if self.plan.session else ""
        return f"job {self.plan.index} ({self.plan.kind}{session}, {self.job})"

    @property
    def outcome(self) -> str:
        """How it ended; empty while it has not."""
        return self.record.get("outcome", "")

    def of_type(self, kind: str) -> list[Event]:
        """Its events of a type."""
        return [event for event in self.events if event.type == kind]

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts that started, in order."""
        numbers = _numbered(self.events)
        groups = groupby(zip(numbers, self.events, strict=True), key=lambda pair: pair[0])
        return [Attempt(number, tuple(event for _, event in pairs)) for number, pairs in groups if number]


@dataclass
class Reading:
    """What a client saw that followed a job live: ids of events, in order, and what ended it before the end."""

    ids: list[str] = field(default_factory=list)
    error: str = ""
    is_over: bool = False


@dataclass(frozen=True)
class Hit:
    """A fault that found its target.

    Attributes:
        at: Unix seconds; `until` is when its effect ended.
        node, sandbox: What it hit, if it was one of these.
    """

    kind: FaultKind
    at: float
    until: float
    node: str | None = None
    sandbox: str | None = None
    what: str = ""

    def __str__(self) -> str:
        """For a report."""
        return f"{self.at:.3f} to {self.until:.3f} {self.kind} {self.node or self.sandbox or ''} {self.what}"


def _numbered(events: Iterable[Event]) -> Iterator[int]:
    """To which attempt each event belongs: 0 before the first start and between two."""
    count = current = 0
    for event in events:
        if event.type == "started":
            count += 1
            current = count
        elif event.type in ("retried", "finished"):
            current = 0
        yield current


def read_case(client: redis_py.Redis, keys: Keys, plan: PlannedJob, job: str) -> Case:
    """Read all of a job."""
    record = {name.decode(): value.decode(errors="replace") for name, value in client.hgetall(keys.job(job)).items()}
    events = tuple(_event(name, fields) for name, fields in client.xrange(keys.events(job)))
    meta = client.get(keys.meta(job))
    return Case(plan, job, record, events, None if meta is None else json.loads(meta))


def _event(name: bytes, fields: Mapping[bytes, bytes]) -> Event:
    major, minor = name.split(b"-")
    told = json.loads(fields[b"json"]) if b"json" in fields else None
    kind = fields[b"type"].decode()
    return Event((int(major), int(minor)), kind, float(fields[b"at"]), fields.get(b"data", b""), told)
