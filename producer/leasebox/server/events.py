"""Routes of a job's events: Server-Sent Events, lines of JSON, and WebSocket."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, WebSocket
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from leasebox import _flows
from leasebox._event_json import event_json
from leasebox._stream import START, Pace, checked_cursor
from leasebox.contract.errors import BrokerUnavailable, InvalidSpec, LeaseboxError
from leasebox.contract.events import Event
from leasebox.contract.faults import faults_text
from leasebox.server.bodies import parse
from leasebox.server.feed import Told, Write
from leasebox.server.frames import LINES, SSE, frames, lines
from leasebox.server.models import Command, Documented, JobId, problems
from leasebox.server.problems import answer as refused
from leasebox.server.problems import problem_of
from leasebox.server.service import Desk, FollowJobs
from leasebox.server.service import desk as desk_of
from leasebox.server.stdin import Typing

router = APIRouter(tags=["jobs"])
HEARTBEAT_S = 15.0
"""A silent stream says so often that it lives; below what proxies commonly take for dead."""
RETRY_MS = 1000
_MAX_SAID = 64 << 10
_EVENTS: Documented = {
    200: {
        "description": "The events up to `finished`, each with its id as the cursor to go on from.",
        "content": {
            # Without a schema: OpenAPI 3.1 has none for the events of a stream, only for a text as a whole.
            SSE: {"example": 'id: 1-16\nevent: stdout\ndata: {"at": 1, "text": "a"}\n'},
            LINES: {"schema": {"type": "string"}},
        },
    },
    204: {"description": "`finished` was seen already: nothing follows, do not ask again."},
}
After = Annotated[str | None, Query(max_length=64, description="Id of the last event that was seen.")]


class Following:
    """One watcher of a job.

    Attributes:
        is_done: It was told `finished`.
    """

    def __init__(self, desk: Desk, job: str, after: str | None) -> None:
        self.is_done = False
        self._cursor = START if after is None else checked_cursor(after)
        self._job = job
        self._desk = desk
        self._feed = desk.service.feed(desk.backend, job)
        self._pace = Pace(time.monotonic(), None, HEARTBEAT_S)

    async def begin(self, stack: AsyncExitStack) -> Told | None:
        """Look whether there is such a job and such an event; gives what is there already.

        Raises:
            UnknownJob: Not in this tenant.
            StreamExpired: The events are gone.
        """
        self._bell = stack.enter_context(self._desk.service.watch.on(self._job))
        # The stream does not say whose it is; the record does.
        await self._desk.run(_flows.fields(self._desk.backend.keys, self._desk.tenant, self._job))
        return await self._next()

    async def go_on(self) -> AsyncIterator[Told | None]:
        """What follows, up to `finished`; None as a heartbeat. Redis may be away for a while."""
        while not self.is_done:
            count = self._bell.count
            try:
                told = await self._next()
            except BrokerUnavailable as exc:
                await asyncio.sleep(self._pace.pause_s(time.monotonic(), exc))
                continue
            if told is not None:
                yield told
            elif not await self._bell.after(count, HEARTBEAT_S):
                yield None

    async def _next(self) -> Told | None:
        told = await self._feed.after(self._cursor)
        self._pace.answered()
        if told is not None:
            self._cursor, self.is_done = told.cursor, told.is_done
        return told


@router.get("/v1/jobs/{job}/events", response_class=Response, responses=_EVENTS | problems(404, 410, 422))
async def follow_job(
    job: JobId,
    desk: FollowJobs,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=64, description="As `after`, and before it.")] = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """What a job tells, live: Server-Sent Events, or lines of JSON for `Accept: application/x-ndjson`."""
    is_lines = LINES in accept
    async with AsyncExitStack() as stack:
        following = Following(desk, job, last_event_id or after)
        first = await following.begin(stack)
        if first is not None and first.is_done and not first.events:
            return Response(status_code=204)
        write = _lines if is_lines else _frames
        # The response outlives this block, and leaves the watch at its own end.
        body = _body(following, first, write, stack.pop_all())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, headers=headers, media_type=LINES if is_lines else SSE)


async def _body(following: Following, first: Told | None, write: Write, stack: AsyncExitStack) -> AsyncIterator[str]:
    async with stack:
        if write is _frames:
            yield f"retry: {RETRY_MS}\n\n"
        if first is not None:
            yield first.text(write)
        # An end without `finished` sends the client to ask again, and then it is told what is wrong.
        stack.enter_context(suppress(LeaseboxError))
        async for told in following.go_on():
            if text := told.text(write) if told is not None else write(()):
                yield text


def _frames(found: Sequence[Event]) -> str:
    return frames(map(event_json, found))


def _lines(found: Sequence[Event]) -> str:
    return lines(map(event_json, found))


@router.websocket("/v1/jobs/{job}/ws")
async def talk_with_job(socket: WebSocket, job: str, after: str | None = None) -> None:
    """The same events as JSON; takes `{"type": "stdin", "text"}`, `eof` and `cancel`. Ends after `finished`."""
    async with AsyncExitStack() as stack:
        try:
            desk = await desk_of(socket, "jobs:read")
            following = Following(desk, job, after)
            first = await following.begin(stack)
        except LeaseboxError as exc:
            await socket.send_denial_response(refused(problem_of(exc, socket.scope)))
            return
        await socket.accept()
        with suppress(WebSocketDisconnect):
            async with asyncio.TaskGroup() as group:
                typing = Typing(desk, job, lambda error: socket.send_json(_told(error, socket)))
                writing = group.create_task(typing.run())
                hearing = group.create_task(_hear(socket, desk, job, typing))
                telling = group.create_task(_tell(socket, following, first))
                # Whichever is over first ends the others: `finished` was told, or the client has left.
                telling.add_done_callback(lambda _: (hearing.cancel(), writing.cancel()))
                hearing.add_done_callback(lambda _: (telling.cancel(), writing.cancel()))
    if socket.application_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError):
            await socket.close()


async def _tell(socket: WebSocket, following: Following, first: Told | None) -> None:
    try:
        for event in first.events if first is not None else ():
            await socket.send_text(_lines([event]))
        async for told in following.go_on():
            for event in told.events if told is not None else ():
                await socket.send_text(_lines([event]))
    except LeaseboxError as exc:
        await socket.send_json(_told(exc, socket))
    except (WebSocketDisconnect, RuntimeError):
        return


async def _hear(socket: WebSocket, desk: Desk, job: str, typing: Typing) -> None:
    while True:
        try:
            said = await socket.receive()
        except RuntimeError:
            return
        if said["type"] == "websocket.disconnect":
            return
        try:
            await _obey(_command(said), desk, job, typing, socket)
        except LeaseboxError as exc:
            await socket.send_json(_told(exc, socket))


async def _obey(command: Command, desk: Desk, job: str, typing: Typing, socket: WebSocket) -> None:
    desk.caller.needs("jobs:write")
    if command.type == "cancel":
        await desk.run(desk.backend.cancel(job))
        desk.service.trail.done(socket.scope, "job.cancel", job)
    else:
        typing.put(command.text)


def _command(said: Any) -> Command:
    """What a message says.

    Raises:
        InvalidSpec: It is none, or says more than its type may.
    """
    given: str | bytes = said.get("text") or said.get("bytes") or b""
    if len(given) > _MAX_SAID:
        raise InvalidSpec(f"a message has at most {_MAX_SAID} characters")
    try:
        return Command.model_validate(parse(given if isinstance(given, bytes) else given.encode()))
    except ValidationError as exc:
        raise InvalidSpec(faults_text(exc.errors())) from exc
    except ValueError as exc:
        raise InvalidSpec(str(exc).replace("the body", "the message")) from exc


def _told(error: LeaseboxError, socket: WebSocket) -> dict[str, Any]:
    return {"type": "error", "problem": problem_of(error, socket.scope).model_dump(exclude_none=True)}
