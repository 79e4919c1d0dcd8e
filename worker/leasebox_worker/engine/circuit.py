"""Does the engine answer? While it does not, nobody asks it for a sandbox, and a probe finds out when it does again."""

import threading
import time
from collections.abc import Callable

import structlog

from leasebox_worker.drivers.base import EngineDown

log = structlog.get_logger()

LOOK_S = 5.0
"""Between two looks at an engine that answers."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0


class Circuit:
    """Open while the engine is down; thread-safe.

    Attributes:
        changed: Called with "is it open now?" after every change, from the thread that made it.
    """

    def __init__(self, ping: Callable[[], None]) -> None:
        self._ping = ping
        self._lock = threading.Lock()
        self._is_open = False
        self._pause_s = FIRST_PAUSE_S
        self._next_look = 0.0
        self.changed: Callable[[bool], None] = lambda _: None

    @property
    def is_open(self) -> bool:
        """Whether the engine is down, as far as we know."""
        return self._is_open

    def trip(self, error: EngineDown) -> None:
        """The engine failed somebody; again is fine."""
        with self._lock:
            if self._is_open:
                return
            self._is_open, self._pause_s = True, FIRST_PAUSE_S
            self._next_look = time.monotonic() + FIRST_PAUSE_S
        log.error("engine_down", reason=str(error))
        self.changed(True)

    def probe(self) -> None:
        """Look at the engine if it is time to; called every second or so by one thread."""
        if time.monotonic() < self._next_look:
            return
        try:
            self._ping()
        except EngineDown as exc:
            self.trip(exc)
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
            self._next_look = time.monotonic() + self._pause_s
            return
        with self._lock:
            was_open, self._is_open = self._is_open, False
            self._next_look = time.monotonic() + LOOK_S
        if was_open:
            log.warning("engine_back")
            self.changed(False)
