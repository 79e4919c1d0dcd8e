"""How are many jobs handed in and a batch followed, step by step, whatever carries the steps out?

A flow of many specs sends them in portions that are bounded in number and bytes, and answers for each by itself. An
`Item` keeps its job's id, so that handing the same item in again, after an answer was lost, makes no second job.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from leasebox import _blobs, _flows, _reads, _sessions, _submit
from leasebox._content import Uploads, is_utf8
from leasebox._flows import Submitted
from leasebox._ids import new_job_id
from leasebox._json_line import json_line
from leasebox._reads import Ahead, Flow, Landed, Query, fields_of
from leasebox._stream import START, Entry, checked_cursor
from leasebox._submit import Membership
from leasebox.config import ClientSettings
from leasebox.contract import errors
from leasebox.contract.batches import (
    MAX_KEY,
    MAX_NAME,
    BatchEvent,
    BatchFinished,
    BatchInfo,
    ItemError,
    JobDone,
    event_of,
)
from leasebox.contract.errors import InvalidSpec, LeaseboxError, UnknownBatch
from leasebox.contract.keys import Keys
from leasebox.contract.result import Result
from leasebox.contract.scripts import answers, client_answers
from leasebox.contract.scripts import client as scripts
from leasebox.contract.scripts.client import NewJob
from leasebox.contract.spec import JobSpec

PORTION_SPECS = 64
PORTION_BYTES = 128 << 10
"""What is sent to Redis at once: a unix socket's buffer (208 KiB on Linux) takes it without a wait."""
EVENTS_AT_ONCE = 256
RESULTS_AT_ONCE = 32
"""A Result may have 16 MiB."""

Given = JobSpec | Mapping[str, object]
"""What a caller gives for one job of many: a spec, or its fields and perhaps `key`."""
Answer = Submitted | LeaseboxError


@dataclass(frozen=True, slots=True)
class Item:
    """One of many jobs to hand in.

    Attributes:
        index: Its place among the specs.
        spec: Or why it cannot be handed in.
        key: The caller's own name for it.
        is_numbered: Whether it has its index in the batch too; else the order of arrival decides.
        uploads: What must be uploaded before it is handed in.
    """

    index: int
    spec: JobSpec | LeaseboxError
    key: str | None = None
    is_numbered: bool = True
    job: str = field(default_factory=new_job_id)
    uploads: Uploads = field(default_factory=dict, repr=False)

    @property
    def size_bytes(self) -> int:
        """Of its uploads, for which Redis needs room from before it is handed in."""
        return sum(source.size_bytes for source in self.uploads.values())

    @property
    def batch_index(self) -> int | None:
        """The index for the batch, None = in order of arrival."""
        return self.index if self.is_numbered else None


def item_of(index: int, given: Given, settings: ClientSettings, *, may_upload: bool = True) -> Item:
    """Make the item of what a caller gave; a wrong spec becomes the item's error.

    Args:
        may_upload: Contents above 256 KiB become uploads; else they are refused.
    """
    uploads: Uploads = {}
    try:
        if isinstance(given, JobSpec):
            return Item(index, _submit.checked(given, settings))
        if not isinstance(given, Mapping):
            raise InvalidSpec("a job is a JobSpec or an object of its fields")
        key = given.get("key")
        if key is not None and not (isinstance(key, str) and len(key) <= MAX_KEY and is_utf8(key)):
            raise InvalidSpec(f"key: a text of at most {MAX_KEY} characters, in UTF-8")
        fields = {name: value for name, value in given.items() if name != "key"}
        spec = _submit.spec_of(None, fields, settings, uploads if may_upload else None)
        return Item(index, spec, key, uploads=uploads)
    except LeaseboxError as exc:
        return Item(index, exc)


def refusal_of(index: int, error: LeaseboxError) -> ItemError:
    """An error as it is told of one spec among many."""
    return ItemError(index=index, code=error.code, detail=str(error))


def partly_refused(total: int, refused: Sequence[ItemError], handles: Sequence[object]) -> errors.PartlyRefused:
    """The error for a call of which some specs were refused."""
    first = refused[0]
    return errors.PartlyRefused(
        f"{len(refused)} of {total} specs were refused; index {first.index}: {first.code}: {first.detail}",
        hint="`handles` has the jobs that were queued, `errors` what was refused",
        handles=handles,
        errors=refused,
    )


def checked_batch_name(name: str | None) -> None:
    """Refuse a name that is too long.

    Raises:
        InvalidSpec: Says the bound.
    """
    if name is not None and not (0 < len(name) <= MAX_NAME and is_utf8(name)):
        raise InvalidSpec(f"name: of a batch, 1 to {MAX_NAME} characters, in UTF-8")


class Handed(NamedTuple):
    """An item's record, or why there is none, and what must be uploaded before it."""

    record: NewJob | LeaseboxError
    uploads: Uploads


def portions(records: Iterable[Handed]) -> Iterator[list[Handed]]:
    """Records, at most `PORTION_SPECS` at once and, but for a single larger one, `PORTION_BYTES` with their uploads."""
    portion: list[Handed] = []
    size = 0
    for handed in records:
        record = handed.record
        more = 0 if isinstance(record, LeaseboxError) else len(record.spec) + len(record.wake_head)
        more += sum(source.size_bytes for source in handed.uploads.values())
        if portion and (len(portion) == PORTION_SPECS or size + more > PORTION_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(handed)
        size += more
    if portion:
        yield portion


def submit_many(keys: Keys, tenant: str, records: Iterable[Handed]) -> Flow[list[Answer]]:
    """Upload and hand records in, portion by portion; each is accepted or refused by itself, in order.

    One portion is on its way while the next is made.
    """
    found: list[Answer] = []
    under_way: deque[list[NewJob | LeaseboxError]] = deque()
    sent = None
    for portion in portions(records):
        ready = []
        for handed in portion:
            ready.append((yield from _uploaded(keys, tenant, handed)))
        calls = tuple(scripts.submit(keys, record=record) for record in ready if isinstance(record, NewJob))
        sent = yield Ahead(calls, sent)
        under_way.append(ready)
        if len(under_way) > 1:
            found += yield from _landed(keys, under_way.popleft(), sent)
    for ready in under_way:
        found += yield from _landed(keys, ready, sent)
    return found


def _uploaded(keys: Keys, tenant: str, handed: Handed) -> Flow[NewJob | LeaseboxError]:
    if isinstance(handed.record, LeaseboxError):
        return handed.record
    try:
        yield from _blobs.upload(keys, tenant, handed.uploads)
    except InvalidSpec as exc:  # a file changed while it was read
        return exc
    return handed.record


def _landed(keys: Keys, records: list[NewJob | LeaseboxError], sent: Any) -> Flow[list[Answer]]:
    replies = iter((yield Landed(sent)))
    found: list[Answer] = []
    for record in records:
        found.append(record if isinstance(record, LeaseboxError) else (yield from _told(keys, record, next(replies))))
    return found


def _told(keys: Keys, record: NewJob, answer: object) -> Flow[Answer]:
    if isinstance(answer, LeaseboxError):
        return answer
    if isinstance(answer, client_answers.Expired) and record.session is not None:
        return (yield from _sessions.gone(keys, record.tenant, record.session, answer.reason))
    try:
        return _flows.told(answer, record)
    except LeaseboxError as exc:
        return exc


def membership(item: Item, batch: str | None) -> Membership | None:
    """An item's place in a batch."""
    return None if batch is None else Membership(batch, item.batch_index, item.key)


def open_batch(
    keys: Keys, tenant: str, batch: str, name: str | None, result_ttl_s: float, callback_url: str | None = None
) -> Flow[None]:
    """Make a batch without jobs; one that is there already stays as it is.

    Raises:
        UnknownBatch: Another tenant has one of this id.
    """
    answer = yield scripts.open_batch(
        keys, batch=batch, tenant=tenant, name=name, result_ttl_s=result_ttl_s, callback_url=callback_url
    )
    if isinstance(answer, client_answers.BatchTaken):
        raise unknown(batch)


def info(keys: Keys, tenant: str, batch: str) -> Flow[BatchInfo]:
    """How the batch stands.

    Raises:
        UnknownBatch: There is none in this tenant (any more).
    """
    query = Query((("HGETALL", keys.batch(batch)),), lambda replies: fields_of(replies[0]))
    found: dict[str, str] = yield query
    if found.get("tenant") != tenant:
        raise unknown(batch)
    return BatchInfo(
        id=batch,
        name=found.get("name") or None,
        total=int(found["total"]),
        done=int(found["done"]),
        by_outcome=json.loads(found.get("by_outcome") or "{}"),
        sealed=found.get("sealed") == "1",
        cancelled=found.get("cancelled") == "1",
        created_at=float(found["created_at"]),
        finished_at=float(found["finished_at"]) if found.get("finished_at") else None,
    )


def seal(keys: Keys, tenant: str, batch: str) -> Flow[None]:
    """Let it take no further job.

    Raises:
        UnknownBatch: As for `info`.
    """
    if isinstance((yield scripts.seal(keys, batch=batch, tenant=tenant)), answers.Gone):
        raise unknown(batch)


def cancel(keys: Keys, tenant: str, batch: str) -> Flow[None]:
    """Ask all its jobs to end and seal it.

    Raises:
        UnknownBatch: As for `info`.
    """
    place: int | None = 0
    while place is not None:
        answer = yield scripts.cancel_batch(keys, batch=batch, tenant=tenant, place=place)
        if isinstance(answer, answers.Gone):
            raise unknown(batch)
        place = answer.next_place
    yield from seal(keys, tenant, batch)


def unknown(batch: str) -> UnknownBatch:
    """The error for a batch that is not there."""
    return UnknownBatch(f"no batch {batch}", hint="a batch is forgotten LEASEBOX_RESULT_TTL_S after its end")


class BatchReader:
    """Where the reading of a batch stands.

    Attributes:
        cursor: Id of the last event that was given.
        is_done: `finished` was given.
        has_results: Each `done` brings the Result.
        is_known: The batch was looked up: its stream does not say whose it is.
    """

    def __init__(self, batch: str, after: str | None = None, *, has_results: bool = False) -> None:
        self.batch = batch
        self.cursor = START if after is None else checked_cursor(after)
        self.has_results = has_results
        self.is_known = False
        self.is_done = False

    def parse(self, entries: Sequence[Entry]) -> list[BatchEvent]:
        """The events of the next entries; `advance` must follow."""
        heads = (
            {"id": name.decode(), "type": fields[b"type"].decode(), "at": float(fields[b"at"])}
            for name, fields in entries
        )
        found = (event_of(head | json.loads(fields[b"json"])) for head, (_, fields) in zip(heads, entries, strict=True))
        return [event for event in found if event is not None]

    def advance(self, entries: Sequence[Entry], found: Sequence[BatchEvent]) -> None:
        """Go on behind these entries."""
        self.cursor = entries[-1][0].decode()
        self.is_done = bool(found) and isinstance(found[-1], BatchFinished)


def next_events(
    keys: Keys, tenant: str, reader: BatchReader, block_s: float, count: int | None = None
) -> Flow[list[BatchEvent]]:
    """The next events; empty when `block_s` passed without any, 0 = do not wait.

    Raises:
        UnknownBatch: As for `info`.
    """
    if not reader.is_known:
        yield from info(keys, tenant, reader.batch)
        reader.is_known = True
    stream, block_ms = keys.batch_events(reader.batch), max(0, int(block_s * 1000))
    at_once = count or (RESULTS_AT_ONCE if reader.has_results else EVENTS_AT_ONCE)
    entries = yield _reads.stream_entries(stream, reader.cursor, block_ms, at_once)
    if not entries:
        stands = yield from info(keys, tenant, reader.batch)
        if stands.finished_at is None:
            return []
        # The end may have come between the two reads; without one, the cursor is that of the end.
        entries = yield _reads.stream_entries(stream, reader.cursor, 0, at_once)
        reader.is_done = not entries
    found = reader.parse(entries)
    if reader.has_results:
        found = yield from _with_results(keys, found)
    if entries:
        # Only now: were Redis lost before the results are here, these entries would be read again.
        reader.advance(entries, found)
    return found


def result_line(index: int, key: str | None, job: str, result: Result | None) -> str:
    """A line of results: `{"index", "key", "job", "result"}`; None = it is no longer kept."""
    told = result.model_dump(mode="json") if result is not None else None
    data = {"index": index, "key": key, "job": job, "result": told}
    return f"{json_line(data)}\n"


def _with_results(keys: Keys, found: Sequence[BatchEvent]) -> Flow[list[BatchEvent]]:
    jobs = [event.job for event in found if isinstance(event, JobDone)]
    if not jobs:
        return list(found)
    kept: list[Result | None] = yield _reads.results(keys, jobs)
    by_job = dict(zip(jobs, kept, strict=True))
    return [replace(event, result=by_job[event.job]) if isinstance(event, JobDone) else event for event in found]
