"""What happens to one connection of a job? The checks in their order, then bytes both ways, counted and slowed.

CONNECT; port; name in the job's list; resolve here; public addresses alone; dial one of exactly these; the TLS greeting
names the same host; only then is the first byte forwarded.
"""

import asyncio
from contextlib import suppress
from typing import Protocol

from leasebox.contract.addresses import public
from leasebox_worker.egress.caps import Caps
from leasebox_worker.egress.client_hello import HelloReader
from leasebox_worker.egress.refusal import Refusal, RefusedError, answer
from leasebox_worker.egress.request import wanted
from leasebox_worker.egress.ways import STREAM_BYTES, Streams, Ways

PORT = 443
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_MOST_ADDRESSES = 3


class Account(Protocol):
    """What all connections of a job share."""

    rules: tuple[str, ...]
    caps: Caps

    def spend(self, *, bytes_in: int = 0, bytes_out: int = 0) -> float:
        """Count bytes that are about to be forwarded; seconds to wait before.

        Raises:
            RefusedError: They are more than the job may have.
        """

    def refuse(self, error: RefusedError) -> None:
        """Note that a check failed; before the guest learns of it, so that none goes unnoted."""


class Tunnel:
    """One connection, from its acceptance to its end."""

    def __init__(self, guest: Streams, account: Account, ways: Ways) -> None:
        """Takes nothing from the guest yet; `run` does."""
        self._reader, self._writer = guest
        self._account = account
        self._caps = account.caps
        self._ways = ways
        self._remote: Streams | None = None
        self._moved_at = 0.0
        self._writer.transport.set_write_buffer_limits(high=STREAM_BYTES)

    async def run(self) -> None:
        """Serve the connection; it is closed afterwards, whatever happened."""
        try:
            await self._serve()
            await self._let_read_on()
        except RefusedError as exc:
            self._account.refuse(exc)
            if self._remote is None:
                self._writer.write(answer(exc.refusal))
                await self._let_read_on()
        except (OSError, asyncio.IncompleteReadError):
            return  # somebody hung up: nothing to say and nobody to say it to
        finally:
            for streams in filter(None, (self._remote, (self._reader, self._writer))):
                streams[1].transport.abort()

    async def _let_read_on(self) -> None:
        """Close once the guest has read what was written; one that does not read is cut."""
        self._writer.close()
        with suppress(OSError):  # a timeout too
            async with asyncio.timeout(self._caps.head_within_s):
                await self._writer.wait_closed()

    async def _serve(self) -> None:
        name = wanted(await self._head(), self._account.rules)
        self._remote = await self._reach(name)
        self._remote[1].transport.set_write_buffer_limits(high=STREAM_BYTES)
        self._writer.write(_ESTABLISHED)
        hello = await self._greeting(name)
        try:
            await self._forward(self._remote[1], hello, is_out=True)
            await self._relay(self._remote)
        except RefusedError as exc:
            raise RefusedError(exc.refusal, name) from exc

    async def _head(self) -> bytes:
        try:
            async with asyncio.timeout(self._caps.head_within_s):
                return await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as exc:
            raise RefusedError(Refusal.SYNTAX) from exc
        except TimeoutError as exc:
            raise RefusedError(Refusal.SLOW) from exc

    async def _reach(self, name: str) -> Streams:
        try:
            async with asyncio.timeout(self._caps.reach_within_s):
                found = await self._ways.resolve(name)
        except (OSError, UnicodeError) as exc:  # TimeoutError is an OSError
            raise RefusedError(Refusal.UNRESOLVED, name) from exc
        addresses = public(found)
        if not addresses:
            raise RefusedError(Refusal.ADDRESS, name)
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                async with asyncio.timeout(self._caps.reach_within_s):
                    return await self._ways.dial(address, PORT)
            except RefusedError as exc:
                raise RefusedError(exc.refusal, name) from exc
            except OSError:
                continue
        raise RefusedError(Refusal.UNREACHABLE, name)

    async def _greeting(self, name: str) -> bytes:
        """Everything that the guest sent, once it is seen to greet `name`."""
        hello = HelloReader()
        try:
            async with asyncio.timeout(self._caps.head_within_s):
                seen = await self._seen_name(hello)
        except TimeoutError as exc:
            raise RefusedError(Refusal.SLOW, name) from exc
        except RefusedError as exc:
            raise RefusedError(exc.refusal, exc.name or name) from exc
        if seen is None:
            raise RefusedError(Refusal.NOT_TLS, name)
        if seen != name:
            raise RefusedError(Refusal.SNI, f"{name} as {seen[:253]}")
        return hello.received

    async def _seen_name(self, hello: HelloReader) -> str | None:
        """Whom the guest greets; None if it ended before it said so."""
        while data := await self._reader.read(STREAM_BYTES):
            if (seen := hello.feed(data)) is not None:
                return seen
        return None

    async def _relay(self, remote: Streams) -> None:
        """Forward until the host has ended, or nothing moves; a guest that has ended may still listen."""
        loop = asyncio.get_running_loop()
        up = asyncio.create_task(self._pump(self._reader, remote[1], is_out=True))
        down = asyncio.create_task(self._pump(remote[0], self._writer, is_out=False))
        waiting = {up, down}
        try:
            while down in waiting:
                idle_s = loop.time() - self._moved_at
                if idle_s >= self._caps.idle_s:
                    raise RefusedError(Refusal.IDLE)
                ended, waiting = await asyncio.wait(
                    waiting, timeout=self._caps.idle_s - idle_s, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    task.result()
                if up in ended:
                    remote[1].write_eof()
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_out: bool) -> None:
        while data := await source.read(STREAM_BYTES):
            await self._forward(sink, data, is_out=is_out)

    async def _forward(self, sink: asyncio.StreamWriter, data: bytes, *, is_out: bool) -> None:
        size = len(data)
        wait_s = self._account.spend(bytes_out=size) if is_out else self._account.spend(bytes_in=size)
        if wait_s:
            await asyncio.sleep(wait_s)
        sink.write(data)
        await sink.drain()
        self._moved_at = asyncio.get_running_loop().time()
