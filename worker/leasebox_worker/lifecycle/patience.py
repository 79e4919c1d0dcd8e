"""How a job waits for Redis: its scripts are asked again until Redis answers, for as long as a job may be held."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
import structlog
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from leasebox.contract.scripts import Runner
from leasebox.contract.scripts.call import Call

log = structlog.get_logger()

A = TypeVar("A")

PASSING = (redis.ConnectionError, redis.TimeoutError, OutOfMemoryError, ReadOnlyError)
"""Redis is away, loading, hanging, full (output waits for memory) or just becoming the primary."""
FIRST_PAUSE_S = 0.02
MOST_PAUSE_S = 1.0


class PatientRunner(Runner):
    """Asks again while Redis is away, at most `within_s`; every script may be repeated (PROTOCOL.md (d) 3).

    Meanwhile the thread that pumps a job's output stands still, so its pipe fills up and the program waits: nothing is
    dropped, and nothing piles up here. If the job was given to others, the answer says so.
    """

    def __init__(self, client: redis.Redis, *, within_s: float) -> None:
        super().__init__(client)
        self._within_s = within_s
        self._closed = threading.Event()

    def close(self) -> None:
        """The process leaves: nobody waits any more, each call is asked once."""
        self._closed.set()

    def run(self, call: Call[A]) -> A:
        """As `Runner.run`, and patient.

        Raises:
            redis.RedisError: The last one, when the time is over; or one that does not pass by waiting.
        """
        return self._patiently(lambda: super(PatientRunner, self).run(call), call.script)

    def send(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """As `Runner.send`, and patient: for commands that may be repeated."""
        return self._patiently(lambda: super(PatientRunner, self).send(commands), str(commands[0][0]))

    def _patiently(self, ask: Callable[[], A], name: str) -> A:
        began, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except redis.AuthenticationError:
                raise  # a kind of ConnectionError to redis-py, and no better later
            except PASSING as exc:
                if self._closed.is_set() or time.monotonic() - began + pause_s > self._within_s:
                    raise
                if pause_s >= MOST_PAUSE_S:
                    log.debug("redis_awaited", script=name, reason=str(exc))
            self._closed.wait(pause_s)
            pause_s = min(pause_s * 2, MOST_PAUSE_S)
