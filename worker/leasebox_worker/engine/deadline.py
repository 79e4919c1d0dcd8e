"""Until when does the host wait for the agent's word? Without the time in which the host itself stood still.

A worker that is stopped, or paged out, finds its deadlines over as soon as it wakes, while the word that a job has
ended lies unread in its socket.
"""

import time
from collections.abc import Callable

TURN_S = 5.0
"""A turn of a loop that polls each second takes longer only when its process did not run."""


class Deadline:
    """Of a loop that asks in each turn.

    Args:
        within_s: Of time that counts.

    Attributes:
        excused_s: What did not count until now.
    """

    def __init__(self, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.excused_s = 0.0
        self._clock = clock
        self._turned_at = clock()
        self._at = self._turned_at + within_s

    def is_over(self, held_s: float = 0.0) -> bool:
        """Ask; `held_s` does not count either."""
        now = self._clock()
        turn_s, self._turned_at = now - self._turned_at, now
        if turn_s > TURN_S:
            self.excused_s += turn_s
        return now >= self._at + self.excused_s + held_s

    def excuse(self, seconds: float) -> None:
        """What others took in this turn does not count."""
        self.excused_s += seconds
        self._turned_at += seconds
