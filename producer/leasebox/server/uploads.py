"""How does a body of any bytes get into Redis? A part at a time, within bounds; its content is its name at the end."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.requests import Request

from leasebox import _blobs
from leasebox.contract import blobs
from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import MAX_INLINE_BYTES, FileContent
from leasebox.server.bodies import STALL_S
from leasebox.server.models import Blob
from leasebox.server.service import Desk

# Up to here a refused body is read and dropped: a reset would eat the refusal.
_HEARD_OUT_BYTES = 2 * blobs.MAX_BLOB_BYTES


async def receive(desk: Desk, request: Request) -> Blob:
    """Keep the body as an upload of the caller's tenant, for an hour.

    Raises:
        HTTPException: 413 too large, 408 stalled, 400 a part, 415 encoded or a form.
        InvalidSpec: It is empty.
    """
    writer = _Writer(desk)
    try:
        async for part in _parts(request):
            await writer.add(part)
        return await writer.end()
    except BaseException:
        await writer.drop()
        raise


async def received_content(desk: Desk, request: Request) -> FileContent:
    """The body as the content of one file: inline if it is small, else an upload. Raises as `receive`."""
    writer = _Writer(desk)
    small = bytearray()
    try:
        async for part in _parts(request):
            small += part
            if len(small) > MAX_INLINE_BYTES:
                await writer.add(bytes(small))
                small.clear()
        if writer.size_bytes:
            await writer.add(bytes(small))
            return FileContent(blob=(await writer.end()).id)
    except BaseException:
        await writer.drop()
        raise
    return _blobs.inline(bytes(small))


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        HTTPException: 413, there is more than one upload may have; 408, nothing came for too long; 400, it is a part;
            415, it is not the content itself.
    """
    _check_is_content(request.headers)
    too_large = HTTPException(413, f"a file has at most {blobs.MAX_BLOB_BYTES} bytes", {"Connection": "close"})
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > _HEARD_OUT_BYTES:
        raise too_large
    stream, size_bytes = request.stream(), 0
    try:
        while True:
            async with asyncio.timeout(STALL_S):
                part = await anext(stream, None)
            size_bytes += len(part or b"")
            if size_bytes > (blobs.MAX_BLOB_BYTES if part is None else _HEARD_OUT_BYTES):
                raise too_large
            if part is None:
                return
            if size_bytes <= blobs.MAX_BLOB_BYTES:
                yield part
    except TimeoutError as exc:
        raise HTTPException(408, f"the body stalled for {STALL_S:g} s", {"Connection": "close"}) from exc


def _check_is_content(headers: Headers) -> None:
    # As of a resumed `curl -C`: it would become the whole. Source: RFC 9110, 14.5.
    if "content-range" in headers:
        raise HTTPException(400, "Content-Range: a file is sent whole")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HTTPException(415, "Content-Encoding: a content is sent as it is, for nothing unpacks it here")
    # As of `curl -F`: the form with its boundaries would become the file.
    if headers.get("content-type", "").strip().lower().startswith("multipart/form-data"):
        raise HTTPException(415, "multipart/form-data: send the bytes of the file alone (curl -T FILE)")


class _Writer:
    """Writes under a name of its own, and gives the content its name at the end."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._partial = self._key(f"new-{secrets.token_hex(16)}")
        self._pending = bytearray()
        self._digest = hashlib.sha256()
        self._sent_bytes = 0

    @property
    def size_bytes(self) -> int:
        """So far."""
        return self._sent_bytes + len(self._pending)

    async def add(self, data: bytes) -> None:
        """Take the next bytes; whole parts are sent."""
        self._digest.update(data)
        self._pending += data
        while len(self._pending) >= blobs.PART_BYTES:
            await self._send(blobs.PART_BYTES)

    async def end(self) -> Blob:
        """Send the rest. What is there already with that name stays: a job may need it."""
        if not self.size_bytes:
            raise InvalidSpec("the body is empty", hint="an empty file needs no upload")
        if self._pending:
            await self._send(len(self._pending))
        blob = self._digest.hexdigest()
        await self._desk.run(_blobs.settle(self._partial, self._key(blob), self._sent_bytes))
        return Blob(id=blob, size_bytes=self._sent_bytes)

    async def drop(self) -> None:
        """Forget what was sent."""
        if self._sent_bytes:
            await self._desk.run(_blobs.drop(self._partial))

    def _key(self, name: str) -> str:
        return self._desk.backend.keys.blob(blobs.upload(self._desk.tenant, name))

    async def _send(self, size_bytes: int) -> None:
        part = bytes(self._pending[:size_bytes])
        del self._pending[:size_bytes]
        await self._desk.run(_blobs.write(self._partial, self._sent_bytes, part))
        self._sent_bytes += size_bytes
