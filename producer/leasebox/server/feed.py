"""How is a job's stream read once for all who follow it?

Followers who stand at the same event share a reader, the events that it gives, and their text. Who falls behind finds
what the others have read as long as it is kept, and else reads by itself from where it stands.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from leasebox import _flows
from leasebox._reads import Flow
from leasebox._redis_backend import RedisBackend
from leasebox._stream import START, EventReader
from leasebox.contract.events import Event

ENTRIES = 16
"""Read at once: half a MiB at most, so that a thousand slow followers do not fill the memory."""
_KEPT = 16
_KEPT_CHARS = 256 << 10
Write = Callable[[Sequence[Event]], str]
Run = Callable[[Flow[list[Event]]], Awaitable[list[Event]]]


class Told:
    """What follows an event.

    Attributes:
        cursor: Where a follower stands after it.
        is_done: Nothing will follow it.
    """

    def __init__(self, events: Sequence[Event], cursor: str, *, is_done: bool) -> None:
        self.events = events
        self.cursor = cursor
        self.is_done = is_done
        self._texts: dict[Write, str] = {}

    def text(self, write: Write) -> str:
        """As `write` puts it; the same for all followers, so made once."""
        if write not in self._texts:
            self._texts[write] = write(self.events)
        return self._texts[write]

    @property
    def chars(self) -> int:
        """About how much memory it takes."""
        return 1024 + sum(len(getattr(event, "data", b"")) for event in self.events) * (1 + len(self._texts))


class Feed:
    """The events of one job, for all its followers."""

    def __init__(self, job: str, run: Run, backend: RedisBackend) -> None:
        self._job = job
        self._run = run
        self._backend = backend
        # A reader holds the beginning of a character that its cursor may have split, so it goes with the cursor.
        self._readers: dict[str, EventReader] = {}
        self._told: OrderedDict[str, Told] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Told | None]] = {}

    async def after(self, cursor: str) -> Told | None:
        """What follows the event; None if nothing did when it was looked, which may be a moment ago.

        Raises:
            StreamExpired: The events are gone.
            BrokerUnavailable: Redis does not answer.
        """
        if (known := self._told.get(cursor)) is not None:
            return known
        task = self._asked.get(cursor)
        if task is None:
            task = self._asked[cursor] = asyncio.ensure_future(self._read(cursor))
            task.add_done_callback(lambda done: self._over(cursor, done))
        # Shielded: a follower who leaves must not take the answer away from the others.
        return await asyncio.shield(task)

    async def _read(self, cursor: str) -> Told | None:
        reader = self._readers.pop(cursor, None) or EventReader(self._job, None if cursor == START else cursor)
        backend = self._backend
        flow = _flows.next_events(backend.keys, backend.tenant, reader, 0, ENTRIES)
        found = await self._run(flow)
        if not reader.is_done:
            self._readers[reader.cursor] = reader
            if reader.cursor == cursor:
                return None
        return self._keep(cursor, Told(found, reader.cursor, is_done=reader.is_done))

    def _keep(self, cursor: str, told: Told) -> Told:
        self._told[cursor] = told
        while len(self._told) > _KEPT or sum(kept.chars for kept in self._told.values()) > _KEPT_CHARS:
            self._told.popitem(last=False)
        # Readers that nobody will come back to: each follower that was left behind makes one of its own.
        while len(self._readers) > _KEPT:
            self._readers.pop(next(iter(self._readers)))
        return told

    def _over(self, cursor: str, done: "asyncio.Task[Told | None]") -> None:
        self._asked.pop(cursor, None)
        if not done.cancelled():
            done.exception()  # its askers have seen it, or have left
