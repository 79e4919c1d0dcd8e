"""May this node take work now, and from which queues?

Whoever knows a reason against it says so here; the consumer of the queues obeys.
"""

import threading
from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import StrEnum

from leasebox.contract.queues import Priority, of_node, shared


class Pause(StrEnum):
    """Why a node takes nothing from the queues that all nodes share."""

    DRAINING = "draining"
    FENCED = "fenced"
    FULL = "full"
    ENGINE_DOWN = "engine_down"


OWN_GO_ON = frozenset({Pause.FULL, Pause.ENGINE_DOWN})
"""What does not stop the node's own queues: the sessions there have their sandboxes already."""


class Intake:
    """The reasons against taking work that hold now; thread-safe.

    Attributes:
        changed: Called after every change of the reasons, from the thread that made it.
    """

    def __init__(self) -> None:
        self._reasons: frozenset[Pause] = frozenset()
        self._lock = threading.Lock()
        self.changed: Callable[[], None] = lambda: None

    @property
    def reasons(self) -> frozenset[Pause]:
        """What holds now; empty: open."""
        return self._reasons

    @property
    def is_stopped(self) -> bool:
        """Whether nothing at all may be claimed, not even for a sandbox that stands here."""
        return bool(self._reasons - OWN_GO_ON)

    def pause(self, reason: Pause) -> None:
        """Take nothing while this holds; again is fine."""
        self._change(lambda held: held | {reason})

    def resume(self, reason: Pause) -> None:
        """This holds no longer; again is fine."""
        self._change(lambda held: held - {reason})

    def _change(self, change: Callable[[frozenset[Pause]], frozenset[Pause]]) -> None:
        with self._lock:
            before, self._reasons = self._reasons, change(self._reasons)
            is_changed = before != self._reasons
        if is_changed:
            self.changed()


@dataclass(frozen=True, slots=True)
class Slots:
    """How many jobs a node runs at the same time, and for how many of these only interactive ones are taken."""

    total: int
    interactive: int

    @property
    def for_bulk(self) -> int:
        """How many jobs of the classes `default` and `batch` may run; never none."""
        return max(1, self.total - self.interactive)


def open_queues(node: str, reasons: Set[Pause], slots: Slots, *, busy: int, bulk: int) -> frozenset[str]:
    """The queues from which the next job may come.

    Only jobs of the other classes count against the slots that interactive ones may not use alone: a steady load of
    interactive jobs takes turns with the rest, it does not lock the rest out.

    Args:
        busy: Slots that are taken.
        bulk: Those of them that `default` and `batch` jobs have.
    """
    if busy >= slots.total or reasons - OWN_GO_ON:
        return frozenset()
    classes = [p for p in Priority if p is Priority.INTERACTIVE or bulk < slots.for_bulk]
    queues = {of_node(node, p) for p in classes}
    return frozenset(queues if reasons else queues | {shared(p) for p in classes})


class Gate:
    """Which queues are open, from the reasons against work and the slots that are taken; thread-safe."""

    def __init__(self, node: str, slots: Slots, intake: Intake) -> None:
        self._node = node
        self._slots = slots
        self._intake = intake
        self._busy = {True: 0, False: 0}
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, queue: str) -> Callable[[], None]:
        """A message of this queue takes a slot; call the answer when it gives the slot back."""
        is_bulk = not queue.endswith(f".{Priority.INTERACTIVE}")
        with self._lock:
            self._busy[is_bulk] += 1
            self._taken += 1

        def _give_back() -> None:
            with self._lock:
                self._busy[is_bulk] -= 1

        return _give_back

    @property
    def taken(self) -> int:
        """How many messages were ever taken."""
        return self._taken

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        with self._lock:
            return sum(self._busy.values())

    def open_queues(self) -> frozenset[str]:
        """The queues from which the next message may come, now."""
        with self._lock:
            bulk, busy = self._busy[True], sum(self._busy.values())
        return open_queues(self._node, self._intake.reasons, self._slots, busy=busy, bulk=bulk)
