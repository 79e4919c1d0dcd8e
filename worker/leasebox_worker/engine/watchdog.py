"""Is the consumer silently dead? Jobs wait, slots are free, Redis answers, and still nothing is taken.

Workers of Celery are known to stop so after a reconnect. Whatever the cause, it shows in this one way; the consumer is
started again in this process, and where that does not help the process ends, for its supervisor to start it again.
"""

import time
from collections.abc import Callable
from enum import StrEnum

import redis
import structlog

from leasebox_worker.engine.intake import Gate

log = structlog.get_logger()

MAX_RESTARTS = 3
"""So many restarts of the consumer in a row without a single message taken; then the process must go."""
BUSY_PATIENCE = 10
"""Running jobs are waited for, but at most so many times `stall_s` after the first sign."""


class Verdict(StrEnum):
    """What to do about the consumer."""

    WAIT = "wait"
    RESTART = "restart"
    END = "end"


def verdict(*, stalled_s: float, since_first_s: float, restarts: int, busy: int, stall_s: float) -> Verdict:
    """What to do when messages wait and nothing is taken.

    Args:
        stalled_s: Since a message was last taken, none waited, or the consumer was started again.
        since_first_s: Since a message was last taken or none waited.
        restarts: Since then.
    """
    if stalled_s < stall_s:
        return Verdict.WAIT
    if restarts < MAX_RESTARTS:
        return Verdict.RESTART
    return Verdict.END if not busy or since_first_s >= BUSY_PATIENCE * stall_s else Verdict.WAIT


class Watchdog:
    """Looks again and again; `look` is a duty.

    Args:
        client: With a short timeout.
        restart: Starts the consumer again, in its own thread.
        end: Ends the process.
    """

    def __init__(
        self, client: redis.Redis, gate: Gate, *, stall_s: float, restart: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self._redis = client
        self._gate = gate
        self._stall_s = stall_s
        self._restart = restart
        self._end = end
        self._taken = 0
        self._restarts = 0
        self._since = self._first = time.monotonic()

    def look(self) -> None:
        """Look once, and do what must be done."""
        now, taken = time.monotonic(), self._gate.taken
        queues = self._gate.open_queues()
        try:
            is_stalled = taken == self._taken and bool(queues) and self._redis.exists(*queues) > 0
        except redis.RedisError:
            self._since = now  # what nobody can reach is not the consumer's fault
            return
        self._taken = taken
        if not is_stalled:
            self._since, self._first, self._restarts = now, now, 0
            return
        match verdict(
            stalled_s=now - self._since,
            since_first_s=now - self._first,
            restarts=self._restarts,
            busy=self._gate.busy,
            stall_s=self._stall_s,
        ):
            case Verdict.RESTART:
                self._since = now
                self._restarts += 1
                log.warning("consumer_restarted", stalled_s=round(now - self._first, 1), times=self._restarts)
                self._restart()
            case Verdict.END:
                log.error("consumer_dead", stalled_s=round(now - self._first, 1), restarts=self._restarts)
                self._end()
            case Verdict.WAIT:
                pass
