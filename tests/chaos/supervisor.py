"""What does an operator's supervisor do while a round runs? A worker that ended by itself is started again.

As systemd does by `Restart=on-failure` and `RestartPreventExitStatus=78`. So 0, for which nobody asked, and 78 are
wrong, and so is a worker that ends again and again; any other end is told in the report.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from tests.chaos.system import System

MOST_RESTARTS = 3
"""Of one worker in a round."""
_FINAL = (0, 78)


class Verdict(StrEnum):
    """What to do about a worker that no fault has in its hands."""

    FINE = "fine"
    AGAIN = "again"
    WRONG = "wrong"


def verdict(status: int | None, restarts: int) -> Verdict:
    """What to do.

    Args:
        status: With which it ended; None: it has not.
        restarts: So many times it was started again before.
    """
    if status is None:
        return Verdict.FINE
    return Verdict.WRONG if status in _FINAL or restarts >= MOST_RESTARTS else Verdict.AGAIN


class Supervisor:
    """Looks when told to, in one thread at a time.

    Attributes:
        told: Its deeds, for the report.
    """

    def __init__(self, system: System, say: Callable[[str], None]) -> None:
        self._system = system
        self._say = say
        self._restarts: Counter[str] = Counter()
        self.told: list[str] = []

    def look(self) -> None:
        """Start again what ended by itself."""
        for worker in self._system.workers:
            if not worker.is_in_hands and verdict(worker.status, self._restarts[worker.node]) is Verdict.AGAIN:
                self._restarts[worker.node] += 1
                self.told.append(f"worker {worker.node} ended with {worker.status} and was started again")
                self._say(self.told[-1])
                worker.start()

    def wrong(self) -> list[str]:
        """Workers that are down for good."""
        return [
            f"worker {worker.node} ended by itself with {worker.status}"
            for worker in self._system.workers
            if not worker.is_in_hands and verdict(worker.status, self._restarts[worker.node]) is not Verdict.FINE
        ]
