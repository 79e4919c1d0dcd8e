"""Which of many jobs are handed in next, while the queue is full or only so many may be in flight?

A full queue or quota is no refusal here: those items are handed in again, first one, then as many as have ended, then
twice as many with each success, so that nothing is lost and a full queue is not beaten with jobs that it refuses.
"""

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from leasebox import _submit
from leasebox._batches import Answer, Item
from leasebox._content import Uploads
from leasebox._flows import Submitted
from leasebox.config import ClientSettings
from leasebox.contract.batches import BatchEvent, JobDone
from leasebox.contract.errors import InvalidSpec, LeaseboxError, QueueFull, QuotaExceeded
from leasebox.contract.result import Failure, Outcome, Result

SPECS_AT_ONCE = 2000
"""Many portions, so that one is made while the one before is on its way."""
RETRY_S = 1.0
KEEP_S = 600.0
INDEX = "index"
"""Name of the metadata that says from which input of `map` a Result is."""
MAX_RETRY_S = 5.0
"""A quota may ask for a wait until midnight; what ends meanwhile may free it earlier."""


class Feeder:
    """Hands out items, and knows which are in flight.

    Args:
        items: In order; read only as far as needed.
        max_in_flight: None = as many as the queue takes.

    Attributes:
        in_flight: Items by the id of their job.
        waits_for: Why the last items were not taken, while that is so.
        refused: Items that are refused for good, for the caller to take.
        elsewhere: Items that an earlier job does already, for the caller to take: that one's end is told elsewhere.
    """

    def __init__(self, items: Iterator[Item], max_in_flight: int | None = None) -> None:
        self.in_flight: dict[str, Item] = {}
        self.waits_for: LeaseboxError | None = None
        self.refused: list[tuple[Item, LeaseboxError]] = []
        self.elsewhere: list[tuple[Item, Submitted]] = []
        self._items = items
        self._max_in_flight = max_in_flight
        self._again: deque[Item] = deque()
        self._sent: list[Item] = []
        self._is_exhausted = False
        self._allowed = 1
        self._not_before = 0.0

    @property
    def is_fed(self) -> bool:
        """Whether every item was taken or refused."""
        return self._is_exhausted and not self._again and not self._sent

    @property
    def is_over(self) -> bool:
        """Whether nothing is in flight any more either."""
        return self.is_fed and not self.in_flight

    def next(self, now: float) -> list[Item]:
        """The items to hand in now; `answered` or `failed` must follow if there are any."""
        for _ in range(self._room(now)):
            item = self._again.popleft() if self._again else next(self._items, None)
            if item is None:
                self._is_exhausted = True
                break
            self._sent.append(item)
        return list(self._sent)

    def _room(self, now: float) -> int:
        room = SPECS_AT_ONCE
        if self._max_in_flight is not None:
            room = min(room, self._max_in_flight - len(self.in_flight))
        if self.waits_for is not None:
            room = min(room, self._allowed) if now >= self._not_before else 0
        return max(0, room)

    def answered(self, answers: Sequence[Answer], now: float) -> None:
        """What became of the items of `next`."""
        again: list[Item] = []
        full: QueueFull | QuotaExceeded | None = None
        for item, answer in zip(self._sent, answers, strict=True):
            match answer:
                case Submitted() if answer.is_existing:
                    self.elsewhere.append((item, answer))
                case Submitted():
                    # Contents are not held any longer.
                    self.in_flight[answer.job] = replace(item, uploads={}) if item.uploads else item
                case QueueFull() | QuotaExceeded():
                    again.append(item)
                    full = answer
                case _:
                    self.refused.append((item, answer))
        self._sent = []
        self._again.extendleft(reversed(again))
        self._pace(full, now)

    def _pace(self, full: QueueFull | QuotaExceeded | None, now: float) -> None:
        if full is not None:
            self.waits_for, self._allowed = full, 1
            self._not_before = now + min(full.retry_after_s or RETRY_S, MAX_RETRY_S)
        elif self.waits_for is not None:
            self._allowed *= 2
            self.waits_for = None if self._allowed >= SPECS_AT_ONCE else self.waits_for

    def failed(self) -> None:
        """Nobody answered about the items of `next`: they come again, and as the same jobs."""
        self._again.extendleft(reversed(self._sent))
        self._sent = []

    def take_refused(self) -> list[tuple[Item, LeaseboxError]]:
        """Give `refused`, and forget it."""
        taken, self.refused = self.refused, []
        return taken

    def ended(self, job: str, now: float) -> Item | None:
        """A job has ended; gives its item, None for a job that is not in flight here."""
        item = self.in_flight.pop(job, None)
        if item is not None and self.waits_for is not None:
            self._allowed += 1
            self._not_before = now
        return item

    def block_s(self, now: float, longest_s: float) -> float:
        """How long the end of a job may be waited for before `next` is worth asking."""
        if self.is_fed:
            return longest_s
        if self._room(now):
            return 0.0
        is_window_full = self._max_in_flight is not None and len(self.in_flight) >= self._max_in_flight
        return longest_s if is_window_full else min(longest_s, max(0.01, self._not_before - now))


class Harvest:
    """The results of `map` in the order in which they are given.

    Args:
        is_ordered: By index; else as they come.
    """

    def __init__(self, feeder: Feeder, *, is_ordered: bool) -> None:
        self._feeder = feeder
        self._is_ordered = is_ordered
        self._kept: dict[int, tuple[str, Result]] = {}
        self._next = 0

    def add(self, index: int, result: Result, now: float) -> list[Result]:
        """Take a result; gives those whose turn it is. One that waits for its turn still counts as in flight."""
        if not self._is_ordered:
            self._feeder.ended(result.job, now)
            return [result]
        self._kept[index] = (result.job, result)
        given: list[Result] = []
        while self._next in self._kept:
            job, found = self._kept.pop(self._next)
            self._feeder.ended(job, now)
            given.append(found)
            self._next += 1
        return given


def gathered(harvest: Harvest, feeder: Feeder, ended: Iterable[JobDone]) -> Iterator[Result]:
    """What a turn gave: the Results of what was refused, and of what has ended."""
    for item, error in feeder.take_refused():
        yield from harvest.add(item.index, rejected(item, error), time.monotonic())
    for event in ended:
        yield from harvest.add(event.index, result_of(event), time.monotonic())


class Ended:
    """The ends of jobs that are in flight.

    One whose submit has no answer yet may have ended all the same: its end is kept until the answer is there.
    """

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder
        self._told: dict[str, JobDone] = {}

    def of(self, events: Sequence[BatchEvent]) -> list[JobDone]:
        """The ends among these events, and among those before that had to wait."""
        self._told.update((event.job, event) for event in events if isinstance(event, JobDone))
        return [self._told.pop(job) for job in list(self._told) if job in self._feeder.in_flight]


def map_items(
    code: str | None, inputs: Iterable[object], fields: Mapping[str, object], settings: ClientSettings
) -> Iterator[Item]:
    """The items of `map`.

    Raises:
        InvalidSpec: The program cannot run with any input.
    """
    if fields.get("stdin") is not None or fields.get("stdin_open"):
        raise InvalidSpec("stdin: each input comes there")
    if fields.get("idempotency_key") is not None:
        raise InvalidSpec("idempotency_key: all inputs would have the same")
    given = fields.get("metadata") or {}
    named = {INDEX: "0", **given} if isinstance(given, Mapping) else given
    _submit.spec_of(code, {**fields, "metadata": named}, settings, {})
    return (_map_item(index, code, one, fields, settings) for index, one in enumerate(inputs))


def _map_item(
    index: int, code: str | None, given: object, fields: Mapping[str, object], settings: ClientSettings
) -> Item:
    try:
        stdin = given if isinstance(given, str | bytes) else json.dumps(given)
        metadata = {INDEX: str(index), **cast("Mapping[str, str]", fields.get("metadata") or {})}
        uploads: Uploads = {}
        spec = _submit.spec_of(code, {**fields, "stdin": stdin, "metadata": metadata}, settings, uploads)
        return Item(index, spec, uploads=uploads)
    except (TypeError, ValueError) as exc:
        return Item(index, InvalidSpec(f"input {index}: {exc}"))
    except LeaseboxError as exc:
        return Item(index, exc)


def rejected(item: Item, error: LeaseboxError) -> Result:
    """The Result of an input of `map` that was never queued."""
    told = Failure(name=type(error).__name__, message=str(error))
    metadata = {INDEX: str(item.index)}
    return Result(job=item.job, outcome=Outcome.REJECTED, error=told, message=str(error), metadata=metadata)


def result_of(event: JobDone) -> Result:
    """The Result of an event, or what is left of one that is not kept any more."""
    if event.result is not None:
        return event.result
    return Result(job=event.job, outcome=Outcome(event.outcome), message="Its result is not kept any more.")
