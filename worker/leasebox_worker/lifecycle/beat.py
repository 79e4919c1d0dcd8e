"""How a duty is done again and again: one thread, a period, and an error that is told rather than fatal."""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

log = structlog.get_logger()

PAUSE_S = 1.0
"""Pause of a duty without a period after a failure, so that it does not spin while Redis refuses it."""
STOP_WITHIN_S = 5.0


class Beat:
    """Calls `duty` every `period_s` until stopped.

    A duty that fails, be it that Redis or the engine is away, is told in the log and tried again at the next beat: a
    thread that ended would take the node's heartbeat or its agents' pings along.
    """

    def __init__(self, name: str, duty: Callable[[], object], period_s: float) -> None:
        self._name = name
        self._duty = duty
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call of the duty comes at once."""
        self._thread.start()

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """No further call; waits for one under way, at most so long."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            pause_s = self._period_s
            try:
                self._duty()
            except Exception as exc:  # noqa: BLE001 (an outermost loop)
                log.warning("duty_failed", duty=self._name, reason=repr(exc))
                pause_s = pause_s or PAUSE_S
            self._stop.wait(pause_s)


def stop_all(beats: Sequence[Beat], within_s: float = STOP_WITHIN_S) -> None:
    """No further call of any; waits for those under way, at most so long in all."""
    for beat in beats:
        beat.stop(0.0)
    deadline = time.monotonic() + within_s
    for beat in beats:
        beat.stop(max(0.0, deadline - time.monotonic()))
