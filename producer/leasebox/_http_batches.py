"""How is each request about many jobs asked of the HTTP API?

A batch is made with an id of the client's and a job with an idempotency key of its item, so everything may be sent
twice. Jobs of no batch are handed in as a batch that nobody looks at.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from leasebox._backend import Flow
from leasebox._batches import Answer, Item
from leasebox._flows import Submitted
from leasebox._http_backend import EventStream, HttpBackend, Listen, Release, Request, answered, upload
from leasebox._ids import new_job_id
from leasebox._quota import restored
from leasebox.contract.batches import BatchEvent, BatchInfo, event_of
from leasebox.contract.errors import InvalidSpec, LeaseboxError
from leasebox.contract.spec import MAX_SPECS

CHUNK_SPECS = MAX_SPECS // 2
CHUNK_BYTES = 4 << 20

Body = dict[str, Any]


class BatchStream(EventStream):
    """Reads a batch's events, with the Results if they are asked for."""

    def __init__(self, batch: str, after: str | None, *, has_results: bool) -> None:
        super().__init__(batch, after)
        self.path = f"{_path(batch)}/{'results' if has_results else 'events'}"

    def read(self, data: Mapping[str, Any]) -> BatchEvent | None:
        """As `EventStream.read`."""
        return event_of(data)


class ManyHttpBackend(HttpBackend):
    """`HttpBackend` with the requests about many jobs."""

    def submit_many(self, items: Iterable[Item], batch: str | None) -> Flow[list[Answer]]:
        """POST in chunks."""
        place = batch or new_job_id()
        if batch is None:
            yield from self.open_batch(place, None)
        found: list[Answer] = []
        for chunk in _chunks(items):
            ready = []
            for item, body in chunk:
                ready.append((item, (yield from _uploaded(item, body))))
            found += yield from _submit_chunk(ready, place)
        if batch is None:
            yield from self.seal_batch(place)
        return found

    def open_batch(self, batch: str, name: str | None) -> Flow[None]:
        """POST without jobs."""
        query = {"id": batch, "seal": "false"} | ({"name": name} if name is not None else {})
        yield Request("POST", "/v1/batches", answered, query=query, body=[])

    def batch(self, batch: str) -> Flow[BatchInfo]:
        """GET."""
        return (yield Request("GET", _path(batch), BatchInfo.model_validate))  # type: ignore[no-any-return]

    def seal_batch(self, batch: str) -> Flow[None]:
        """POST."""
        yield Request("POST", f"{_path(batch)}/seal", answered)

    def cancel_batch(self, batch: str) -> Flow[None]:
        """POST."""
        yield Request("POST", f"{_path(batch)}/cancel", answered)

    def batch_reader(self, batch: str, after: str | None, *, has_results: bool) -> BatchStream:
        """A stream that is opened by its first read."""
        return BatchStream(batch, after, has_results=has_results)

    def next_batch_events(self, reader: BatchStream, block_s: float) -> Flow[Sequence[BatchEvent]]:
        """Read on in the stream."""
        return (yield Listen(reader, block_s))  # type: ignore[no-any-return]

    def release_batch(self, reader: BatchStream) -> Flow[None]:
        """Close the stream."""
        yield Release(reader)


def _submit_chunk(chunk: Sequence[tuple[Item, Body | LeaseboxError]], batch: str) -> Flow[list[Answer]]:
    bodies = [body for _, body in chunk if not isinstance(body, LeaseboxError)]
    told = (yield Request("POST", f"{_path(batch)}/jobs", answered, body=bodies)) if bodies else {"jobs": []}
    replies = iter(told["jobs"])
    return [body if isinstance(body, LeaseboxError) else _answer(next(replies), item) for item, body in chunk]


def _uploaded(item: Item, body: Body | LeaseboxError) -> Flow[Body | LeaseboxError]:
    if isinstance(body, LeaseboxError):
        return body
    try:
        yield from upload(item.uploads)
    except InvalidSpec as exc:  # a file changed while it was read
        return exc
    return body


def _answer(told: Body, item: Item) -> Answer:
    if told["error"] is None:
        is_made = not isinstance(item.spec, LeaseboxError) and item.spec.idempotency_key is None
        return Submitted(told["job"], told["existing"] and not is_made, told["batch"])
    return restored(told["error"])


def _chunks(items: Iterable[Item]) -> Iterator[list[tuple[Item, Body | LeaseboxError]]]:
    """Items with their bodies, within the bounds of a request."""
    chunk: list[tuple[Item, Body | LeaseboxError]] = []
    size = 0
    for item in items:
        body, more = _body(item)
        if chunk and (len(chunk) == CHUNK_SPECS or size + more + item.size_bytes > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((item, body))
        size += more + item.size_bytes
    if chunk:
        yield chunk


def _body(item: Item) -> tuple[Body | LeaseboxError, int]:
    if isinstance(item.spec, LeaseboxError):
        return item.spec, 0
    body = {"idempotency_key": f"sdk-{item.job}", **item.spec.model_dump(mode="json", exclude_defaults=True)}
    if item.key is not None:
        body["key"] = item.key
    if item.is_numbered:
        body["index"] = item.index
    return body, len(json.dumps(body))


def _path(batch: str) -> str:
    return f"/v1/batches/{quote(batch, safe='')}"
