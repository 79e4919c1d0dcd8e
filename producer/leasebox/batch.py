"""The blocking client for many jobs at once: `submit_many`, batches, `map`."""

import time
from collections.abc import Iterable, Iterator
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
    from leasebox.client import Client, JobHandle


class ManyJobs:
    """What `Client` does with many jobs; its base and nothing else's."""

    def submit_many(self, specs: Iterable[Given]) -> "list[JobHandle]":
        """Queue many jobs, each by itself; returns when Redis has them.

        They travel in portions, of at most 64 specs and 128 KiB to Redis, 500 and 4 MiB to the API; `specs` is read as
        they are sent.

        Args:
            specs: A JobSpec each, or a mapping of its fields.

        Raises:
            PartlyRefused: Some were refused: its `errors` say which and why, its `handles` are those of the others.
            BrokerUnavailable: Redis was lost on the way; some may have been queued.
        """
        client = cast("Client", self)
        handles, refused = _submit_all(client, specs, None)
        if refused:
            raise _batches.partly_refused(len(handles), refused, handles)
        return [handle for handle in handles if handle is not None]

    def batch(
        self, specs: Iterable[Given] | None = None, *, name: str | None = None, batch_id: str | None = None
    ) -> "Batch":
        """Make a batch: jobs that are counted, followed and cancelled together.

        Args:
            specs: All its jobs, as for `submit_many`; it is sealed then. None = they come by `add`, then `seal`. What
                was refused is in its `errors`.
            name: For people.
            batch_id: Find this one instead of making one; whether there is one shows at the first request.

        Raises:
            BrokerUnavailable: Redis was lost on the way; some jobs may have been queued.
        """
        client = cast("Client", self)
        if batch_id is not None:
            return Batch(client, batch_id)
        _batches.checked_batch_name(name)
        made = Batch(client, new_job_id(), is_new=True)
        with client._held():
            client._run(client._backend.open_batch(made.id, name))
        if specs is not None:
            _, made.errors[:] = _submit_all(client, specs, made.id)
            made.seal()
        return made

    def map(
        self,
        code: str | None,
        inputs: Iterable[object],
        *,
        max_in_flight: int = 200,
        ordered: bool = False,
        **spec: Any,
    ) -> Iterator[Result]:
        """Run a program once for each input, many at a time, and give the results as they come.

        A full queue or quota slows it down; an input that cannot be queued gives a Result with outcome `rejected`.
        `metadata["index"]` of each Result is the place of its input. Closing the iterator early cancels what is left.

        Args:
            code: Source of the program.
            inputs: Text and bytes become standard input as they are, anything else as JSON. Read as far as needed.
            max_in_flight: Jobs that are queued or run at the same time.
            ordered: Give the results in the order of the inputs; those that wait for their turn count as in flight.
            spec: Further fields of JobSpec.

        Raises:
            InvalidSpec: At once, if the program cannot run with any input.
        """
        client = cast("Client", self)
        feeder = Feeder(map_items(code, inputs, spec, client.settings), max_in_flight)
        return _mapped(client, feeder, is_ordered=ordered)


def _submit_all(
    client: "Client", specs: Iterable[Given], batch: str | None
) -> "tuple[list[JobHandle | None], list[ItemError]]":
    from leasebox.client import JobHandle

    items = (_batches.item_of(index, given, client.settings) for index, given in enumerate(specs))
    with client._held():
        answers = client._run(submitting(client._backend.submit_many(items, batch)))
    handles: list[JobHandle | None] = []
    refused: list[ItemError] = []
    for index, answer in enumerate(answers):
        if isinstance(answer, Submitted):
            handles.append(JobHandle(client, answer.job, existing=answer.is_existing))
        else:
            handles.append(None)
            refused.append(_batches.refusal_of(index, answer))
    return handles, refused


class Batch:
    """Jobs that are counted, followed and cancelled together; made by `Client.batch`.

    A spec whose idempotency key names an earlier job is not run again, and that job counts where it was first.

    Attributes:
        id: Under which any client of the tenant finds it.
        errors: The specs given to `Client.batch` that were refused.
    """

    def __init__(self, client: "Client", batch_id: str, *, is_new: bool = False) -> None:
        self.id = batch_id
        self.errors: list[ItemError] = []
        self._client = client
        self._index = 0
        # Whoever finds a batch does not know how many it has: the order of arrival numbers its jobs.
        self._is_new = is_new

    def __repr__(self) -> str:
        return f"Batch({self.id!r})"

    def add(self, spec: Given, *, key: str | None = None) -> "JobHandle":
        """Queue a job of this batch.

        Args:
            spec: A JobSpec, or a mapping of its fields and perhaps `key`.
            key: The caller's own name for it, told with its end.

        Raises:
            InvalidSpec: Nothing was queued.
            BatchClosed: It is sealed or cancelled.
            QueueError: The queue did not take it.
        """
        from leasebox.client import JobHandle

        client = self._client
        made = _batches.item_of(self._index, spec, client.settings)
        item = replace(made, key=key or made.key, is_numbered=self._is_new)
        with client._held():
            (answer,) = client._run(submitting(client._backend.submit_many([item], self.id)))
        if isinstance(answer, LeaseboxError):
            raise answer
        self._index += 1
        return JobHandle(client, answer.job, existing=answer.is_existing)

    def seal(self) -> BatchInfo:
        """Let it take no further job: it ends with the last of its jobs.

        Raises:
            UnknownBatch: There is none of this id (any more).
        """
        self._client._run(self._client._backend.seal_batch(self.id))
        return self.progress()

    def progress(self) -> BatchInfo:
        """How many jobs it has, and how many ended how.

        Raises:
            UnknownBatch: There is none of this id (any more).
        """
        return self._client._run(self._client._backend.batch(self.id))

    def events(self, after: str | None = None, timeout_s: float | None = None) -> Iterator[BatchEvent]:
        """A `done` for each job that ends, from the first or after the event of the given id, then `finished`.

        Raises:
            StreamTimeout: `timeout_s` has passed; the batch goes on.
            UnknownBatch: There is none of this id (any more).
        """
        return self._read(after, timeout_s, has_results=False)

    def results(self, timeout_s: float | None = None) -> Iterator[Result]:
        """The Result of each job, as they end, until the batch is sealed and all have ended.

        Those of jobs that were forgotten meanwhile are left out. Raises as `events` does.
        """
        return (event.result for event in self.ends(timeout_s) if event.result is not None)

    def ends(self, timeout_s: float | None = None) -> Iterator[JobDone]:
        """As `results`, with index and key; `result` is None for a job that was forgotten."""
        found = self._read(None, timeout_s, has_results=True)
        return (event for event in found if isinstance(event, JobDone))

    def cancel(self) -> BatchInfo:
        """Ask all its jobs to end, and seal it: queued ones have ended with this, running ones end by themselves.

        Raises:
            UnknownBatch: There is none of this id (any more).
        """
        self._client._run(self._client._backend.cancel_batch(self.id))
        return self.progress()

    def _read(self, after: str | None, timeout_s: float | None, *, has_results: bool) -> Iterator[BatchEvent]:
        client, backend = self._client, self._client._backend
        reader = backend.batch_reader(self.id, after, has_results=has_results)
        pace = Pace(time.monotonic(), timeout_s, backend.max_block_s)
        try:
            while not reader.is_done:
                block_s = pace.block_s(time.monotonic(), f"batch {self.id}")
                try:
                    found = client._run(backend.next_batch_events(reader, block_s))
                except BrokerUnavailable as exc:
                    time.sleep(pace.pause_s(time.monotonic(), exc))
                    continue
                pace.answered()
                yield from found
        finally:
            client._run(backend.release_batch(reader))


class Run:
    """Feeds the queue and gives what ends, a turn at a time, until the feeder is over.

    Args:
        keep_s: So often the batch is said to be open while items are left: jobs may take longer than the reaper waits.
    """

    def __init__(self, client: "Client", feeder: Feeder, batch: str, *, keep_s: float = KEEP_S) -> None:
        self._client = client
        self._feeder = feeder
        self._batch = batch
        self._ended = Ended(feeder)
        self._keep_s = keep_s
        self._kept_at = time.monotonic()
        self._pace = Pace(time.monotonic(), None, client._backend.max_block_s)
        self._reader = client._backend.batch_reader(batch, None, has_results=True)

    def turn(self) -> list[JobDone]:
        """Hand in what may be handed in now, and give what has ended; empty after a silence or an outage.

        Raises:
            BrokerUnavailable: Redis was never there, or is away for too long.
        """
        client, backend = self._client, self._client._backend
        try:
            if not self._feeder.is_fed and time.monotonic() - self._kept_at >= self._keep_s:
                client._run(backend.open_batch(self._batch, None))
                self._kept_at = time.monotonic()
            if sent := self._feeder.next(time.monotonic()):
                with client._held():
                    answers = client._run(submitting(backend.submit_many(sent, self._batch)))
                self._feeder.answered(answers, time.monotonic())
            block_s = self._feeder.block_s(time.monotonic(), backend.max_block_s)
            found = client._run(backend.next_batch_events(self._reader, block_s))
        except BrokerUnavailable as exc:
            self._feeder.failed()
            time.sleep(self._pace.pause_s(time.monotonic(), exc))
            return []
        self._pace.answered()
        return self._ended.of(found)

    def release(self) -> None:
        """Give back what the reading holds."""
        self._client._run(self._client._backend.release_batch(self._reader))


def _mapped(client: "Client", feeder: Feeder, *, is_ordered: bool) -> Iterator[Result]:
    batch, harvest = client.batch(), Harvest(feeder, is_ordered=is_ordered)
    run = Run(client, feeder, batch.id)
    try:
        while not feeder.is_over:
            yield from gathered(harvest, feeder, run.turn())
    finally:
        # Without Redis nothing can be cancelled; the reaper seals the batch.
        with suppress(BrokerUnavailable):
            run.release()
            (batch.seal() if feeder.is_over else batch.cancel())
