"""What does a thread do whose script Redis does not answer? It asks again: every script may be repeated."""

import threading
import time
from typing import TypeVar

import redis
import structlog
from redis.exceptions import BusyLoadingError

from leasebox.contract.scripts import Runner
from leasebox.contract.scripts.call import Call

log = structlog.get_logger()

A = TypeVar("A")

PAUSE_S = 0.25
AWAY = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError)


class PatientRunner:
    """Runs calls like `Runner`, and waits for a Redis that is away.

    Meanwhile nothing is lost: a job's program blocks on its full pipe, and the fence holds it.

    Args:
        patience_s: After so long without an answer the error is raised.
    """

    def __init__(self, runner: Runner, *, patience_s: float) -> None:
        self._runner = runner
        self._patience_s = patience_s
        self._closed = threading.Event()

    def close(self) -> None:
        """The process leaves: ask once more, then raise."""
        self._closed.set()

    def run(self, call: Call[A]) -> A:
        """Send one call until it is answered.

        Raises:
            redis.RedisError: Redis refused it, or stayed away for too long.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self._runner.run(call)
            except redis.AuthenticationError:
                raise
            except AWAY as exc:
                if self._closed.is_set() or time.monotonic() >= deadline:
                    raise
                log.warning("redis_away", script=call.script, reason=str(exc))
                self._closed.wait(PAUSE_S)
