"""May this node act on its leases now? Its own clock says so: only while Redis has answered a heartbeat lately."""

import math
import threading
import time

POLL_S = 0.25
"""The clock closes the fence without telling anybody, so those who wait look again at this pace."""


class Fence:
    """Closed when no heartbeat *sent* within the last `fence_s` was answered; thread-safe.

    Counting from the sending is what keeps this before the observers' `reclaim_s`: they count from the heartbeat's
    arrival, which is later. Once `shut` was called, only `open` ends it, however many answers come: what was held must
    be let go first (PROTOCOL.md flaw 3).
    """

    def __init__(self, fence_s: float = math.inf) -> None:
        self._fence_s = fence_s
        self._answered_at = time.monotonic()
        self._shut_at: float | None = None
        self._is_over = False
        self._changed = threading.Condition()

    @property
    def is_shut(self) -> bool:
        """Whether nothing may be claimed or started now."""
        return self._shut_at is not None or not self.is_recent(self._answered_at)

    @property
    def is_marked(self) -> bool:
        """Whether `shut` was called, and `open` not since."""
        return self._shut_at is not None

    def is_recent(self, sent_at: float) -> bool:
        """Whether an answer to a heartbeat that was sent then still counts."""
        return time.monotonic() - sent_at < self._fence_s

    def shut(self) -> None:
        """Close it until `open`; again is fine."""
        with self._changed:
            if self._shut_at is None:
                self._shut_at = min(time.monotonic(), self._answered_at + self._fence_s)

    def answered(self, sent_at: float) -> None:
        """A heartbeat that was sent then was answered: we are in service."""
        with self._changed:
            self._answered_at = max(self._answered_at, sent_at)

    def open(self, sent_at: float) -> float:
        """We are in service again, by the answer to a heartbeat sent then; seconds for which it was shut."""
        with self._changed:
            shut_at, self._shut_at = self._shut_at, None
            self._answered_at = max(self._answered_at, sent_at)
            self._changed.notify_all()
        return 0.0 if shut_at is None else time.monotonic() - shut_at

    def end(self) -> None:
        """This process leaves: nobody waits for a shut fence any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def wait(self) -> bool:
        """Wait until it is open; False if it is shut and this process leaves."""
        with self._changed:
            while self.is_shut and not self._is_over:
                self._changed.wait(POLL_S)
            return not self.is_shut
