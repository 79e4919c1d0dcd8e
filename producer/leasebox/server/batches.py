"""Routes of batches: submit many, look, follow, take the results, seal, cancel."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leasebox import _batches, _quota
from leasebox._batches import BatchReader, Item
from leasebox._flows import Submitted
from leasebox._ids import new_job_id
from leasebox._stream import Pace
from leasebox.contract.batches import BATCH_ID, MAX_NAME, BatchEvent, BatchInfo, ItemError, JobDone, event_json
from leasebox.contract.errors import BrokerUnavailable, LeaseboxError
from leasebox.contract.spec import CallbackUrl
from leasebox.server.batch_bodies import BatchRoute, items_of
from leasebox.server.events import HEARTBEAT_S, RETRY_MS
from leasebox.server.frames import LINES, SSE, frames, lines
from leasebox.server.models import BODY, BatchAnswer, Documented, ItemProblem, QueuedItem, answer, problems
from leasebox.server.service import Desk, ReadJobs, WriteJobs
from leasebox.server.watch import SWEEP_S, Bell

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=BatchRoute)
Write = Callable[[Sequence[BatchEvent]], str]
BatchId = Annotated[str, Path(description="Id of a batch.", pattern=BATCH_ID)]
After = Annotated[str | None, Query(max_length=64, description="Id of the last event that was seen.")]
LastEventId = Annotated[str | None, Header(max_length=64, description="As `after`, and before it.")]
_ITEMS = {"type": "array", "maxItems": 1000, "items": {"type": "object"}}
_GIVEN = {
    "requestBody": {
        "required": True,
        "description": "JobSpecs, each perhaps with `key`: a list, or one a line.",
        "content": {"application/json": {"schema": _ITEMS}, LINES: {"schema": {"type": "string"}}},
    }
}
_FRAME = 'id: 5-1\nevent: done\ndata: {"at": 1, "job": "...", "index": 0, "key": null, "outcome": "ok"}\n'
_STREAM: Documented = {
    200: {
        "description": "Until the batch is sealed and all its jobs have ended.",
        "content": {SSE: {"example": _FRAME}, LINES: {"schema": {"type": "string"}}},
    },
    204: {"description": "`finished` was seen already: nothing follows, do not ask again."},
}
_TAKEN: Documented = {202: {"headers": {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}}}


@router.post(
    "",
    status_code=202,
    response_model=BatchAnswer,
    responses=_TAKEN | problems(*BODY, 404, 429),
    openapi_extra=_GIVEN,
)
async def submit_batch(
    request: Request,
    desk: WriteJobs,
    wanted: Annotated[str | None, Query(alias="id", pattern=BATCH_ID, description="So it may be repeated.")] = None,
    name: Annotated[str | None, Query(min_length=1, max_length=MAX_NAME, description="For people.")] = None,
    seal: Annotated[bool, Query(description="These are all its jobs.")] = True,
    callback_url: Annotated[CallbackUrl | None, Query(description="Webhook at its end.")] = None,
) -> Response:
    """Queue many jobs as a batch; each is taken, or refused in `errors`, by itself."""
    items = await items_of(request, desk.service.settings, wanted)
    batch = wanted or new_job_id()
    await desk.run(desk.backend.open_batch(batch, name, callback_url))
    return await _submitted(desk, items, batch, is_last=seal)


@router.post(
    "/{batch}/jobs",
    status_code=202,
    response_model=BatchAnswer,
    responses=problems(*BODY, 404, 429),
    openapi_extra=_GIVEN,
)
async def add_to_batch(batch: BatchId, request: Request, desk: WriteJobs) -> Response:
    """Queue further jobs of a batch that is not sealed."""
    items = await items_of(request, desk.service.settings)
    await desk.run(desk.backend.batch(batch))
    return await _submitted(desk, items, batch, is_last=False)


@router.get("/{batch}", response_model=BatchInfo, responses=problems(404, 422))
async def get_batch(batch: BatchId, desk: ReadJobs) -> Response:
    """How many jobs it has, and how many ended how."""
    return answer(await desk.run(desk.backend.batch(batch)))


@router.post("/{batch}/seal", response_model=BatchInfo, responses=problems(404, 422))
async def seal_batch(batch: BatchId, desk: WriteJobs) -> Response:
    """Let it take no further job: it ends with the last of its jobs."""
    await desk.run(desk.backend.seal_batch(batch))
    return answer(await desk.run(desk.backend.batch(batch)))


@router.post("/{batch}/cancel", status_code=202, response_model=BatchInfo, responses=problems(404, 422))
async def cancel_batch(batch: BatchId, desk: WriteJobs) -> Response:
    """Ask all its jobs to end, and seal it: queued ones have ended with the answer."""
    await desk.run(desk.backend.cancel_batch(batch))
    return answer(await desk.run(desk.backend.batch(batch)), 202)


@router.get("/{batch}/events", response_class=Response, responses=_STREAM | problems(404, 422))
async def follow_batch(
    batch: BatchId,
    desk: ReadJobs,
    after: After = None,
    last_event_id: LastEventId = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """A `done` for each job that ends, then `finished`: Server-Sent Events, or lines of JSON."""
    is_lines = LINES in accept
    reader = BatchReader(batch, last_event_id or after)
    return await _streamed(desk, reader, _event_lines if is_lines else _frames)


@router.get("/{batch}/results", response_class=Response, responses=_STREAM | problems(404, 422))
async def take_results(
    batch: BatchId,
    desk: ReadJobs,
    after: After = None,
    last_event_id: LastEventId = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """The Result of each job as it ends, as lines of JSON; or with the events, for `Accept: text/event-stream`.

    A Result that is no longer kept is null. Lines that cannot go on break off: an end is the end of the batch.
    """
    is_frames = SSE in accept
    reader = BatchReader(batch, last_event_id or after, has_results=True)
    return await _streamed(desk, reader, _frames if is_frames else _result_lines)


async def _submitted(desk: Desk, items: Sequence[Item], batch: str, *, is_last: bool) -> Response:
    answers = await desk.run(desk.backend.submit_many(items, batch))
    if is_last:
        await desk.run(desk.backend.seal_batch(batch))
    stands = await desk.run(desk.backend.batch(batch))
    told = [_told(desk, item, given) for item, given in zip(items, answers, strict=True)]
    desk.notes.update(target=batch, jobs=len(told), refused=sum(one.error is not None for one in told))
    wrong = [ItemError(index=one.index, code=one.error.code, detail=one.error.detail) for one in told if one.error]
    made = BatchAnswer(**stands.model_dump(), errors=wrong, jobs=told)
    return answer(made, 202, {"Location": f"/v1/batches/{batch}"})


def _told(desk: Desk, item: Item, given: Submitted | LeaseboxError) -> QueuedItem:
    if isinstance(given, Submitted):
        desk.rates.submitted(given.pace)
        return QueuedItem(index=item.index, job=given.job, existing=given.is_existing, batch=given.batch)
    members = _quota.members(given)
    desk.rates.refused(members)
    problem = ItemProblem(code=given.code, detail=given.detail, hint=given.hint, **members)
    return QueuedItem(index=item.index, error=problem)


async def _streamed(desk: Desk, reader: BatchReader, write: Write) -> Response:
    async with AsyncExitStack() as stack:
        bell = stack.enter_context(desk.service.watch.on(reader.batch))
        first = await _next(desk, reader)
        if reader.is_done and not first:
            return Response(status_code=204)
        # The response outlives this block, and leaves the watch at its own end.
        body = _body(desk, reader, bell, first, write, stack.pop_all())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, headers=headers, media_type=SSE if write is _frames else LINES)


async def _next(desk: Desk, reader: BatchReader) -> list[BatchEvent]:
    return await desk.run(_batches.next_events(desk.backend.keys, desk.tenant, reader, 0.0))


async def _body(
    desk: Desk, reader: BatchReader, bell: Bell, found: list[BatchEvent], write: Write, stack: AsyncExitStack
) -> AsyncIterator[str]:
    pace, told_at = Pace(time.monotonic(), None, HEARTBEAT_S), time.monotonic()
    pace.answered()
    async with stack:
        if write is _frames:
            yield f"retry: {RETRY_MS}\n\n"
        # An end without `finished` sends the client to ask again, and then it is told what is wrong. Lines of Results
        # have no `finished`: there the connection breaks.
        if write is not _result_lines:
            stack.enter_context(suppress(LeaseboxError))
        while True:
            if found or time.monotonic() - told_at > HEARTBEAT_S:
                told_at = time.monotonic()
                yield write(found)
            if reader.is_done:
                return
            count = bell.count
            try:
                found = await _next(desk, reader)
            except BrokerUnavailable as exc:
                found = []
                await asyncio.sleep(pace.pause_s(time.monotonic(), exc))
                continue
            pace.answered()
            if not found and not reader.is_done:
                # The sweep of the watch looks at jobs alone: a lost ring costs a batch's follower this.
                await bell.after(count, SWEEP_S)


def _frames(found: Sequence[BatchEvent]) -> str:
    return frames(map(event_json, found))


def _event_lines(found: Sequence[BatchEvent]) -> str:
    return lines(map(event_json, found))


def _result_lines(found: Sequence[BatchEvent]) -> str:
    return "".join(
        _batches.result_line(event.index, event.key, event.job, event.result)
        for event in found
        if isinstance(event, JobDone)
    )
