"""How does what somebody writes to a running job come in? By a route, and from a WebSocket as it is typed."""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import Response

from leasebox._input import AsyncLiveInput, InputChunk, as_bytes
from leasebox.contract.errors import InvalidSpec, LeaseboxError, QueueFull
from leasebox.contract.spec import MAX_INLINE_BYTES
from leasebox.server.bodies import StrictRoute
from leasebox.server.models import BODY, JobId, NewInput, problems
from leasebox.server.service import Desk, WriteJobs

router = APIRouter(tags=["jobs"], route_class=StrictRoute)
MAX_WAITING = 16
"""Messages of one WebSocket that wait for their job to read, each of at most 64 Ki characters."""


@router.post("/v1/jobs/{job}/stdin", status_code=204, response_model=None, responses=problems(*BODY, 404, 409, 429))
async def write_input(job: JobId, given: NewInput, desk: WriteJobs) -> Response:
    """Write to a job's standard input, or end it; 429 while 1 MiB wait for the job to read them."""
    writer = given.writer or secrets.token_hex(8)
    await desk.run(desk.backend.feed(job, InputChunk(writer, given.n or 1, _data(given), given.eof)))
    return Response(status_code=204)


def _data(given: NewInput) -> bytes:
    try:
        data = as_bytes(given.text or "") if given.base64 is None else base64.b64decode(given.base64, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidSpec(f"base64: {exc}") from exc
    if len(data) > MAX_INLINE_BYTES:
        raise InvalidSpec(f"one piece has at most {MAX_INLINE_BYTES} bytes", hint="write several")
    if not data and not given.eof:
        raise InvalidSpec("give text, base64 or eof")
    return data


class Typing:
    """What one WebSocket writes to its job: in order, and without its other words waiting for a job that is slow.

    Args:
        tell: Says to the client what cannot be done.
    """

    def __init__(self, desk: Desk, job: str, tell: Callable[[LeaseboxError], Awaitable[None]]) -> None:
        self._input = AsyncLiveInput(lambda chunk: desk.run(desk.backend.feed(job, chunk)))
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue(MAX_WAITING)
        self._tell = tell

    def put(self, text: str | None) -> None:
        """Take a message; None is the end of the input.

        Raises:
            QueueFull: So many wait already; this one is dropped.
        """
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull as exc:
            raise QueueFull(f"stdin: {MAX_WAITING} messages wait for the job to read", retry_after_s=1.0) from exc

    async def run(self) -> None:
        """Write what was put, for ever."""
        while True:
            text = await self._waiting.get()
            try:
                await (self._input.close_stdin() if text is None else self._input.write_stdin(text))
            except LeaseboxError as exc:
                await self._tell(exc)
