"""How entries of a job's stream become events, without any input or output of its own.

A reader starts at a concrete cursor, never at `$`, so that history and live are one. After a cursor that the caller
kept, it is first primed with the entries up to that cursor: they say whether the cursor is still known, and hold the
beginning of a character that the cursor may have split.
"""

import codecs
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from leasebox.contract import events
from leasebox.contract.errors import BrokerUnavailable, InvalidSpec, StreamExpired, StreamTimeout
from leasebox.contract.events import Event
from leasebox.contract.result import Result

Entry = tuple[bytes, dict[bytes, bytes]]
"""What XREAD and XRANGE give: id and fields (`type`, `at`, then `data` or `json`)."""

START = "0-0"
QUEUED_ID = "0-1"
PRIMING_ENTRIES = 64
OUTAGE_S = 60.0
"""A reader that has been served outlives a restart of Redis of this length."""
_CURSOR = re.compile(r"\d{1,20}-\d{1,20}")


class EventReader:
    """Turns entries into events, up to and including `finished`.

    Attributes:
        cursor: Id of the last entry that was read; XREAD goes on from here.
        is_done: `finished` was seen.
        is_partial: The Result of `finished` lacks its big parts; the caller reads the whole one and gives it to
            `complete`.
    """

    def __init__(self, job: str, after: str | None = None) -> None:
        self.job = job
        self.cursor = START if after is None else checked_cursor(after)
        self.is_done = False
        self.is_partial = False
        self._is_fresh = self.cursor == START
        self._decoders = {kind: _decoder() for kind in ("stdout", "stderr")}
        self._end: tuple[str, float] = ("", 0.0)

    @classmethod
    def for_result(cls, job: str) -> "EventReader":
        """A reader for whoever wants the end alone: it starts behind the `queued` event."""
        reader = cls(job, QUEUED_ID)
        reader._is_fresh = True
        return reader

    @property
    def needs_priming(self) -> bool:
        """Whether `prime` must be called before the first `feed`."""
        return not self._is_fresh

    def prime(self, newest_first: Sequence[Entry]) -> None:
        """Take the last `PRIMING_ENTRIES` entries up to and including the cursor (XREVRANGE).

        Raises:
            StreamExpired: The cursor's own entry is not among them, so what followed it may be gone as well.
        """
        if not newest_first or newest_first[0][0].decode() != self.cursor:
            raise StreamExpired(f"the events of job {self.job} after {self.cursor} are no longer kept")
        for _, fields in reversed(newest_first):
            kind = fields[b"type"].decode()
            if kind in self._decoders:
                self._decoders[kind].decode(fields[b"data"])
            elif kind in ("retried", "finished"):
                self._flush("", 0.0)
            self.is_done = kind == "finished"
        self._is_fresh = True

    def feed(self, entries: Sequence[Entry]) -> list[Event]:
        """Give the events of the next entries, in order.

        Raises:
            StreamExpired: The beginning of the stream is gone.
        """
        found: list[Event] = []
        for entry_id, fields in entries:
            name = entry_id.decode()
            if self.cursor == START and name != QUEUED_ID:
                raise StreamExpired(f"the first events of job {self.job} are no longer kept")
            found += self._events_of(name, fields)
            self.cursor = name
        return found

    def complete(self, result: Result) -> Event:
        """Give the `finished` event that waited for the whole Result."""
        self.is_partial = False
        return events.Finished(*self._end, result)

    def _events_of(self, name: str, fields: dict[bytes, bytes]) -> list[Event]:
        kind = fields[b"type"].decode()
        at = float(fields[b"at"])
        if kind in self._decoders:
            make = events.Stdout if kind == "stdout" else events.Stderr
            return [make(name, at, fields[b"data"], self._decoders[kind].decode(fields[b"data"]))]
        data = json.loads(fields[b"json"])
        if kind == "finished":
            return [*self._flush(self.cursor, at), *self._finished(name, at, data)]
        left = self._flush(self.cursor, at) if kind == "retried" else []
        maker = _MAKERS.get(kind)
        # An unknown kind comes from a newer worker: passed by, so that an older client still sees the end.
        return [*left, maker(name, at, data)] if maker else left

    def _finished(self, name: str, at: float, data: dict[str, Any]) -> list[Event]:
        self.is_done = True
        self.is_partial = bool(data.get("partial"))
        self._end = (name, at)
        if self.is_partial:
            return []
        return [events.Finished(name, at, Result.model_validate(data["result"]))]

    def _flush(self, name: str, at: float) -> list[Event]:
        """Tell of bytes that never became a character; they have been told as `data` already."""
        left: list[Event] = []
        for kind, make in (("stdout", events.Stdout), ("stderr", events.Stderr)):
            text = self._decoders[kind].decode(b"", final=True)
            self._decoders[kind].reset()
            if text:
                left.append(make(name, at, b"", text))
        return left


def checked_cursor(after: str) -> str:
    """Give back what can be the id of an event.

    Raises:
        InvalidSpec: It cannot.
    """
    if _CURSOR.fullmatch(after) is None:
        raise InvalidSpec(f"after: {after!r} is not the id of an event")
    return after


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


_MAKERS: dict[str, Callable[[str, float, dict[str, Any]], Event]] = {
    "queued": lambda n, at, d: events.Queued(n, at, d["queue"], d.get("position")),
    "started": lambda n, at, d: events.Started(n, at, d["node"], d["sandbox"], d["attempt"]),
    "session_restarted": lambda n, at, d: events.SessionRestarted(n, at, d["reason"]),
    "retried": lambda n, at, d: events.Retried(n, at, d["attempt"], d["reason"]),
    "display": lambda n, at, d: events.Display(n, at, d["bundle"]),
    "input": lambda n, at, d: events.Input(n, at, d["prompt"]),
}


class Pace:
    """How long a waiting reader blocks, when its time is up, and how long it bears with an unreachable Redis.

    Args:
        now: A monotonic clock's time, as in every method.
        timeout_s: None = for ever.
        block_s: Longest wait in one request; after each silent one the record is asked.
    """

    def __init__(self, now: float, timeout_s: float | None, block_s: float) -> None:
        self._deadline = None if timeout_s is None else now + timeout_s
        self._timeout_s = timeout_s
        self._block_s = block_s
        self._failed_since: float | None = None
        self._has_answered = False

    def block_s(self, now: float, what: str) -> float:
        """How long the next request may wait; `what` is waited for, as "job 0192...".

        Raises:
            StreamTimeout: The time is up; what was waited for goes on.
        """
        if self._deadline is None:
            return self._block_s
        left = self._deadline - now
        if left <= 0:
            raise StreamTimeout(f"{what} did not end within {self._timeout_s:g} s; it goes on")
        return min(self._block_s, left)

    def answered(self) -> None:
        """Redis answered."""
        self._has_answered = True
        self._failed_since = None

    def pause_s(self, now: float, error: BrokerUnavailable) -> float:
        """How long to rest after Redis failed; raises `error` when it never answered or was away for too long."""
        if self._failed_since is None:
            self._failed_since = now
        if not self._has_answered or now - self._failed_since > OUTAGE_S:
            raise error
        return 0.25
