"""May this node take work now? Whoever knows a reason against it says so here; the consumer of the queues obeys."""

import threading
from collections.abc import Callable
from enum import StrEnum


class Pause(StrEnum):
    """Why a node takes nothing from the queues that all nodes share."""

    DRAINING = "draining"
    FENCED = "fenced"
    FULL = "full"
    ENGINE_DOWN = "engine_down"


class Intake:
    """The reasons against taking work that hold now; thread-safe.

    Attributes:
        changed: Called after every change that opens or closes the intake, from the thread that made it.
    """

    def __init__(self) -> None:
        self._reasons: set[Pause] = set()
        self._lock = threading.Lock()
        self.changed: Callable[[], None] = lambda: None

    @property
    def reasons(self) -> frozenset[Pause]:
        """What holds now; empty: open."""
        with self._lock:
            return frozenset(self._reasons)

    def pause(self, reason: Pause) -> None:
        """Take nothing while this holds; again is fine."""
        self._change(reason, is_held=True)

    def resume(self, reason: Pause) -> None:
        """This holds no longer; again is fine."""
        self._change(reason, is_held=False)

    def _change(self, reason: Pause, *, is_held: bool) -> None:
        with self._lock:
            was_open = not self._reasons
            (self._reasons.add if is_held else self._reasons.discard)(reason)
            is_changed = was_open != (not self._reasons)
        if is_changed:
            self.changed()
