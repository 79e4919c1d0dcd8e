"""How does what requests did get into the audit chain? Behind them: gathered for a moment, then written together."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from leasebox._reads import Flow, Query
from leasebox.contract.audit import START, Backlog, Record, Signer
from leasebox.contract.errors import LeaseboxError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import audit
from leasebox.server.audited import Seen, Sieve, record_of, seen

A = TypeVar("A")
GATHER_S = 0.2
"""So long records wait for others; what a process that is killed has not written yet is lost."""
AGAIN_S = 1.0
LAST_S = 5.0
"""What a stopping API may need for the last of them."""
_MAX_DOUBTFUL = 1000
log = logging.getLogger("leasebox.server")


class Trail:
    """The audit log of one API process.

    Args:
        run: Carries a flow out on Redis.
    """

    def __init__(self, keys: Keys, signer: Signer, run: Callable[[Flow[Any]], Coroutine[Any, Any, Any]]) -> None:
        self._keys = keys
        self._signer = signer
        self._run = run
        self._backlog = Backlog()
        self._doubtful: deque[Seen] = deque()
        self._sieve = Sieve()
        self._head = START
        self._has_more = asyncio.Event()

    def answered(self, scope: Any, status: int) -> None:
        """Take note of a request that was answered."""
        found = seen(scope, status, time.time())
        if found is None:
            return
        if found.owned is not None and len(self._doubtful) < _MAX_DOUBTFUL:
            self._doubtful.append(found)
            self._has_more.set()
        else:
            self._note(found.record)

    def done(self, scope: Any, action: str, target: str) -> None:
        """Take note of what was done by a message of a WebSocket."""
        self._note(record_of(scope, time.time(), action, target))

    async def keep(self) -> None:
        """Write what comes, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._has_more.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self.flush()
            except LeaseboxError as exc:
                log.warning("%d entries of the audit log wait: %s", self._waiting, exc)
                await asyncio.sleep(AGAIN_S)
            except Exception:  # the outermost loop: a fault of ours must not end the log in silence
                log.exception("the audit log could not be written")
                await asyncio.sleep(AGAIN_S)

    async def end(self) -> None:
        """Write the last, in bounded time."""
        try:
            async with asyncio.timeout(LAST_S):
                await self.flush(is_last=True)
        except (LeaseboxError, TimeoutError):
            log.error("%d entries of the audit log are lost: Redis does not answer", self._waiting)

    async def flush(self, *, is_last: bool = False) -> None:
        """Write all that there is.

        Raises:
            LeaseboxError: Redis does not answer, or refuses; what is not written waits.
        """
        self._has_more.clear()
        await self._look_whose()
        for counted in self._sieve.counted(time.time(), is_last=is_last):
            self._backlog.put(counted)
        while records := self._backlog.first():
            self._head = await self._run(audit.written(self._keys, self._signer, records, self._head))
            self._backlog.done(len(records))

    @property
    def _waiting(self) -> int:
        return len(self._backlog) + len(self._doubtful)

    def _note(self, record: Record) -> None:
        if record.result == "ok" or self._sieve.passes(record, time.time()):
            self._backlog.put(record)
            self._has_more.set()

    async def _look_whose(self) -> None:
        """Whether the ids that were not found are another tenant's."""
        asked = [self._doubtful[place] for place in range(len(self._doubtful))]
        if not asked:
            return
        are_there = await self._run(_existing(self._keys, asked))
        for one, is_there in zip(asked, are_there, strict=True):
            self._doubtful.popleft()
            if is_there:
                self._note(_of_another(one.record))
            elif not one.is_reading:
                self._note(one.record)


def _existing(keys: Keys, asked: list[Seen]) -> Flow[list[bool]]:
    names = [(keys.job if one.owned == "job" else keys.batch)(one.record.target) for one in asked]
    commands = tuple(("EXISTS", name) for name in names)
    return (yield Query(commands, lambda replies: [reply == 1 for reply in replies]))  # type: ignore[no-any-return]


def _of_another(record: Record) -> Record:
    return replace(record, more={**record.more, "owner": "another tenant"})
