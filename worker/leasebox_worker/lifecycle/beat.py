"""How a duty is done again and again: one thread, a period, and an error that is told rather than fatal."""

import threading
from collections.abc import Callable

import redis
import structlog

from leasebox.contract.errors import LeaseboxError

log = structlog.get_logger()


class Beat:
    """Calls `duty` every `period_s` until stopped.

    A duty that fails because Redis or the engine is away is told in the log and tried again at the next beat.
    """

    def __init__(self, name: str, duty: Callable[[], None], period_s: float) -> None:
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
            try:
                self._duty()
            except (redis.RedisError, LeaseboxError) as exc:
                log.warning("duty_failed", duty=self._name, reason=str(exc))
            self._stop.wait(self._period_s)
