"""Which nodes are silent? Those whose counter stood still while Redis answered; no clock but the observer's counts."""

from collections.abc import Mapping
from dataclasses import dataclass

GAP_PERIODS = 3.0
"""A pause of so many periods between two looks is Redis' silence, or the observer's own, and not the nodes'."""


@dataclass(slots=True)
class _Seen:
    counter: float
    silent_s: float = 0.0


class Silence:
    """What one observer knows of the heartbeats of all nodes.

    After a gap, in which Redis did not answer or the observer itself stood still, every node's silence starts anew:
    the nodes need time to find their way back too.

    Args:
        period_s: Between two looks, as planned.
    """

    def __init__(self, period_s: float) -> None:
        self._gap_s = period_s * GAP_PERIODS
        self._seen: dict[str, _Seen] = {}
        self._looked_at: float | None = None
        self.answering_s = 0.0
        """For how long Redis has answered this observer without a gap."""

    def look(self, counters: Mapping[str, float], now: float) -> None:
        """Take what Redis answered: each node's counter; `now` is of the observer's monotonic clock."""
        elapsed_s = 0.0 if self._looked_at is None else now - self._looked_at
        has_gap = self._looked_at is None or elapsed_s > self._gap_s
        self._looked_at = now
        self.answering_s = 0.0 if has_gap else self.answering_s + elapsed_s
        before, self._seen = self._seen, {}
        for name, counter in counters.items():
            seen = before.get(name)
            if seen is None or seen.counter != counter or has_gap:
                seen = _Seen(counter)
            else:
                seen.silent_s += elapsed_s
            self._seen[name] = seen

    def silent(self, for_s: float) -> dict[str, float]:
        """Nodes that have been silent for so long, with the counter that has not moved."""
        return {name: seen.counter for name, seen in self._seen.items() if seen.silent_s >= for_s}
