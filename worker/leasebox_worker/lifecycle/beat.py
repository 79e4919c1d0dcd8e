"""How a duty is done again and again: one thread, a period, and an error that is told rather than fatal."""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger()

PAUSE_S = 1.0
"""Pause of a duty without a period after a failure, so that it does not spin while Redis refuses it."""


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

    def stop(self) -> None:
        """No further call; waits for one under way, at most 5 s."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            pause_s = self._period_s
            try:
                self._duty()
            except Exception as exc:  # noqa: BLE001 (an outermost loop)
                log.warning("duty_failed", duty=self._name, reason=repr(exc))
                pause_s = pause_s or PAUSE_S
            self._stop.wait(pause_s)
