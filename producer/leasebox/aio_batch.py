"""`batch` for asyncio: the same names, awaited or iterated with `async for`."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from leasebox import _batches
from leasebox._batches import Given
from leasebox._feeder import KEEP_S, Ended, Feeder, Harvest, gathered, map_items
from leasebox._flows import Submitted
from leasebox._ids import new_job_id
from leasebox._stream import Pace
from leasebox._traced import submitting
from leasebox.contract.batches import BatchEvent, BatchInfo, ItemError, JobDone
from leasebox.contract.errors import BrokerUnavailable, LeaseboxError
from leasebox.contract.result import Result

if TYPE_CHECKING:
    from leasebox.aio import AsyncClient, AsyncJobHandle


class AsyncManyJobs:
    """What `AsyncClient` does with many jobs; its base and nothing else's."""

    async def submit_many(self, specs: Iterable[Given]) -> "list[AsyncJobHandle]":
        """Queue many jobs, each by itself. As `Client.submit_many`."""
        client = cast("AsyncClient", self)
        handles, refused = await _submit_all(client, specs, None)
        if refused:
            raise _batches.partly_refused(len(handles), refused, handles)
        return [handle for handle in handles if handle is not None]

    async def batch(
        self, specs: Iterable[Given] | None = None, *, name: str | None = None, batch_id: str | None = None
    ) -> "AsyncBatch":
        """Make a batch, or find one by its id. As `Client.batch`."""
        client = cast("AsyncClient", self)
        if batch_id is not None:
            return AsyncBatch(client, batch_id)
        _batches.checked_batch_name(name)
        made = AsyncBatch(client, new_job_id(), is_new=True)
        async with client._held():
            await client._run(client._backend.open_batch(made.id, name))
        if specs is not None:
            _, made.errors[:] = await _submit_all(client, specs, made.id)
            await made.seal()
        return made

    def map(
        self,
        code: str | None,
        inputs: Iterable[object],
        *,
        max_in_flight: int = 200,
        ordered: bool = False,
        **spec: Any,
    ) -> AsyncIterator[Result]:
        """Run a program once for each input. As `Client.map`; `aclose` cancels what is left."""
        client = cast("AsyncClient", self)
        feeder = Feeder(map_items(code, inputs, spec, client.settings), max_in_flight)
        return _mapped(client, feeder, is_ordered=ordered)


async def _submit_all(
    client: "AsyncClient", specs: Iterable[Given], batch: str | None
) -> "tuple[list[AsyncJobHandle | None], list[ItemError]]":
    from leasebox.aio import AsyncJobHandle

    # Files are read from disk here.
    made = (_batches.item_of(index, given, client.settings) for index, given in enumerate(specs))
    items = await asyncio.to_thread(list, made)
    async with client._held():
        answers = await client._run(submitting(client._backend.submit_many(items, batch)))
    handles: list[AsyncJobHandle | None] = []
    refused: list[ItemError] = []
    for index, answer in enumerate(answers):
        if isinstance(answer, Submitted):
            handles.append(AsyncJobHandle(client, answer.job, existing=answer.is_existing))
        else:
            handles.append(None)
            refused.append(_batches.refusal_of(index, answer))
    return handles, refused


class AsyncBatch:
    """Jobs that are counted, followed and cancelled together; made by `AsyncClient.batch`.

    A spec whose idempotency key names an earlier job is not run again, and that job counts where it was first.

    Attributes:
        id: Under which any client of the tenant finds it.
        errors: The specs given to `AsyncClient.batch` that were refused.
    """

    def __init__(self, client: "AsyncClient", batch_id: str, *, is_new: bool = False) -> None:
        self.id = batch_id
        self.errors: list[ItemError] = []
        self._client = client
        self._index = 0
        # Whoever finds a batch does not know how many it has: the order of arrival numbers its jobs.
        self._is_new = is_new

    def __repr__(self) -> str:
        return f"AsyncBatch({self.id!r})"

    async def add(self, spec: Given, *, key: str | None = None) -> "AsyncJobHandle":
        """Queue a job of this batch. As `Batch.add`."""
        from leasebox.aio import AsyncJobHandle

        client = self._client
        made = await asyncio.to_thread(_batches.item_of, self._index, spec, client.settings)
        item = replace(made, key=key or made.key, is_numbered=self._is_new)
        async with client._held():
            (answer,) = await client._run(submitting(client._backend.submit_many([item], self.id)))
        if isinstance(answer, LeaseboxError):
            raise answer
        self._index += 1
        return AsyncJobHandle(client, answer.job, existing=answer.is_existing)

    async def seal(self) -> BatchInfo:
        """Let it take no further job. As `Batch.seal`."""
        await self._client._run(self._client._backend.seal_batch(self.id))
        return await self.progress()

    async def progress(self) -> BatchInfo:
        """How many jobs it has, and how many ended how. As `Batch.progress`."""
        return await self._client._run(self._client._backend.batch(self.id))

    def events(self, after: str | None = None, timeout_s: float | None = None) -> AsyncIterator[BatchEvent]:
        """A `done` for each job that ends, then `finished`. As `Batch.events`."""
        return self._read(after, timeout_s, has_results=False)

    async def results(self, timeout_s: float | None = None) -> AsyncIterator[Result]:
        """The Result of each job, as they end. As `Batch.results`."""
        async for event in self.ends(timeout_s):
            if event.result is not None:
                yield event.result

    async def ends(self, timeout_s: float | None = None) -> AsyncIterator[JobDone]:
        """As `results`, with index and key. As `Batch.ends`."""
        async for event in self._read(None, timeout_s, has_results=True):
            if isinstance(event, JobDone):
                yield event

    async def cancel(self) -> BatchInfo:
        """Ask all its jobs to end, and seal it. As `Batch.cancel`."""
        await self._client._run(self._client._backend.cancel_batch(self.id))
        return await self.progress()

    async def _read(
        self, after: str | None, timeout_s: float | None, *, has_results: bool
    ) -> AsyncIterator[BatchEvent]:
        client, backend = self._client, self._client._backend
        reader = backend.batch_reader(self.id, after, has_results=has_results)
        pace = Pace(time.monotonic(), timeout_s, backend.max_block_s)
        try:
            while not reader.is_done:
                block_s = pace.block_s(time.monotonic(), f"batch {self.id}")
                try:
                    found = await client._run(backend.next_batch_events(reader, block_s))
                except BrokerUnavailable as exc:
                    await asyncio.sleep(pace.pause_s(time.monotonic(), exc))
                    continue
                pace.answered()
                for event in found:
                    yield event
        finally:
            await client._run(backend.release_batch(reader))


class AsyncRun:
    """Feeds the queue and gives what ends, a turn at a time, until the feeder is over.

    Args:
        keep_s: So often the batch is said to be open while items are left: jobs may take longer than the reaper waits.
    """

    def __init__(self, client: "AsyncClient", feeder: Feeder, batch: str, *, keep_s: float = KEEP_S) -> None:
        self._client = client
        self._feeder = feeder
        self._batch = batch
        self._ended = Ended(feeder)
        self._keep_s = keep_s
        self._kept_at = time.monotonic()
        self._pace = Pace(time.monotonic(), None, client._backend.max_block_s)
        self._reader = client._backend.batch_reader(batch, None, has_results=True)

    async def turn(self) -> list[JobDone]:
        """Hand in what may be handed in now, and give what has ended; empty after a silence or an outage.

        Raises:
            BrokerUnavailable: Redis was never there, or is away for too long.
        """
        client, backend = self._client, self._client._backend
        try:
            if not self._feeder.is_fed and time.monotonic() - self._kept_at >= self._keep_s:
                await client._run(backend.open_batch(self._batch, None))
                self._kept_at = time.monotonic()
            if sent := self._feeder.next(time.monotonic()):
                async with client._held():
                    answers = await client._run(submitting(backend.submit_many(sent, self._batch)))
                self._feeder.answered(answers, time.monotonic())
            block_s = self._feeder.block_s(time.monotonic(), backend.max_block_s)
            found = await client._run(backend.next_batch_events(self._reader, block_s))
        except BrokerUnavailable as exc:
            self._feeder.failed()
            await asyncio.sleep(self._pace.pause_s(time.monotonic(), exc))
            return []
        self._pace.answered()
        return self._ended.of(found)

    async def release(self) -> None:
        """Give back what the reading holds."""
        await self._client._run(self._client._backend.release_batch(self._reader))


async def _mapped(client: "AsyncClient", feeder: Feeder, *, is_ordered: bool) -> AsyncIterator[Result]:
    batch, harvest = await client.batch(), Harvest(feeder, is_ordered=is_ordered)
    run = AsyncRun(client, feeder, batch.id)
    try:
        while not feeder.is_over:
            for result in gathered(harvest, feeder, await run.turn()):
                yield result
    finally:
        # Without Redis nothing can be cancelled; the reaper seals the batch.
        with suppress(BrokerUnavailable):
            await run.release()
            await (batch.seal() if feeder.is_over else batch.cancel())
