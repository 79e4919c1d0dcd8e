"""How is the standard input of a running job written? In numbered chunks, so that a repeat is known as one."""

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct

from leasebox._reads import Flow, no_job
from leasebox.contract.errors import InvalidSpec, QueueFull, WrongState
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers, client_answers
from leasebox.contract.scripts import client as scripts

CHUNK_BYTES = 64 << 10
MAX_PAUSE_S = 1.0


class InputChunk(Struct, frozen=True):
    """A piece of input; `n` rises from 1 on with each chunk of a writer, and the same number again is a repeat."""

    writer: str
    n: int
    data: bytes
    is_end: bool = False


def as_bytes(data: bytes | str) -> bytes:
    """What a program reads; text as UTF-8, in which bytes that were none may stand as surrogates.

    Raises:
        InvalidSpec: Half of a character.
    """
    try:
        return data.encode(errors="surrogateescape") if isinstance(data, str) else bytes(data)
    except UnicodeError as exc:
        raise InvalidSpec("stdin: the text holds half of a character") from exc


class Writer:
    """Cuts and numbers what one writer writes."""

    def __init__(self) -> None:
        self._id = secrets.token_hex(8)
        self._n = 0

    def chunks(self, data: bytes | str) -> Iterator[InputChunk]:
        """The chunks of `data`; of nothing there is none. Text goes out as UTF-8."""
        raw = as_bytes(data)
        for at in range(0, len(raw), CHUNK_BYTES):
            yield self._next(raw[at : at + CHUNK_BYTES])

    def end(self) -> InputChunk:
        """The end of the input."""
        return self._next(b"", is_end=True)

    def _next(self, data: bytes, *, is_end: bool = False) -> InputChunk:
        self._n += 1
        return InputChunk(self._id, self._n, data, is_end)


def feed(keys: Keys, tenant: str, job: str, chunk: InputChunk) -> Flow[None]:
    """Hand a chunk in, or the end; an end of what has ended already is no error.

    Raises:
        UnknownJob: There is no such job in this tenant.
        WrongState: It takes no live input, its input was closed, or it has ended.
        QueueFull: It reads more slowly than is written; says when to try again.
    """
    answer = yield scripts.feed(
        keys, job=job, tenant=tenant, writer=chunk.writer, n=chunk.n, data=chunk.data, eof=chunk.is_end
    )
    match answer:
        case answers.Gone():
            raise no_job(job)
        case client_answers.InputFull():
            raise QueueFull(
                f"stdin: {scripts.STDIN_MAX_BYTES} bytes wait for job {job} to read them",
                hint="write more when it has read",
                retry_after_s=answer.retry_after,
            )
        case client_answers.WrongState("finished" | "eof") if chunk.is_end:
            return
        case client_answers.WrongState("finished"):
            raise WrongState(f"stdin: job {job} has ended, nothing reads its input")
        case client_answers.WrongState("eof"):
            raise WrongState(f"stdin: the input of job {job} was closed")
        case client_answers.WrongState():
            raise WrongState(f"stdin: job {job} takes no live input", hint="submit it with stdin_open=True")


def pause_s(tried: int, full: QueueFull) -> float:
    """How long to wait for a job that reads slowly, after so many tries; a Redis that is full is no such case.

    Raises:
        QueueFull: The one that was given.
    """
    if full.retry_after_s is None:
        raise full
    return min(MAX_PAUSE_S, full.retry_after_s * 1.5 ** min(tried, 8))


class LiveInput:
    """Of a `JobHandle`: its job's standard input, for a job that was submitted with `stdin_open=True`."""

    def __init__(self, feed: Callable[[InputChunk], None]) -> None:
        self._feed = feed
        self._writer = Writer()
        self._writing = threading.Lock()

    def write_stdin(self, data: bytes | str) -> None:
        """Write to the job's standard input, before or while it runs; text goes out as UTF-8.

        Returns when the queue has it all. Up to 1 MiB wait there for the job to read; what is beyond waits here.
        Threads that share a handle do not mix what they write.

        Raises:
            WrongState: The job has ended, its input was closed, or it takes none.
            UnknownJob: There is no such job.
            BrokerUnavailable: Redis did not answer; the last piece may or may not have been written.
        """
        with self._writing:
            for chunk in self._writer.chunks(data):
                self._hand_in(chunk)

    def close_stdin(self) -> None:
        """End the job's standard input: it reads what was written, then the end. Closed twice, or too late, is fine.

        Raises:
            WrongState: The job takes no live input.
            UnknownJob: There is no such job.
        """
        with self._writing:
            self._hand_in(self._writer.end())

    def _hand_in(self, chunk: InputChunk) -> None:
        tried = 0
        while True:
            try:
                self._feed(chunk)
            except QueueFull as exc:
                time.sleep(pause_s(tried, exc))
                tried += 1
            else:
                return


class AsyncLiveInput:
    """`LiveInput` of an `AsyncJobHandle`."""

    def __init__(self, feed: Callable[[InputChunk], Awaitable[None]]) -> None:
        self._feed = feed
        self._writer = Writer()
        self._writing = asyncio.Lock()

    async def write_stdin(self, data: bytes | str) -> None:
        """Write to the job's standard input. As `JobHandle.write_stdin`."""
        async with self._writing:
            for chunk in self._writer.chunks(data):
                await self._hand_in(chunk)

    async def close_stdin(self) -> None:
        """End the job's standard input. As `JobHandle.close_stdin`."""
        async with self._writing:
            await self._hand_in(self._writer.end())

    async def _hand_in(self, chunk: InputChunk) -> None:
        tried = 0
        while True:
            try:
                await self._feed(chunk)
            except QueueFull as exc:
                await asyncio.sleep(pause_s(tried, exc))
                tried += 1
            else:
                return
