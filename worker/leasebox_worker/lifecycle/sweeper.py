"""Who ends idle sessions? The node that has their sandbox, every minute; a job that comes in between wins."""

from collections.abc import Callable
from typing import NamedTuple

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle import reads

log = structlog.get_logger()

PAGE = 1000


class Swept(NamedTuple):
    """A session that ended; `line` is `tenant/session`."""

    line: str
    reason: str


class Sweeper:
    """Ends sessions that are due, by a script that compares once more before it acts."""

    def __init__(self, client: redis.Redis, runner: Runner, keys: Keys, *, tombstone_ttl_s: float) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._tombstone_ttl_s = tombstone_ttl_s

    def sweep(self, name: str, end: Callable[[str, str], None] | None) -> list[Swept]:
        """End what is due now on one node.

        Args:
            name: The node.
            end: Called with a sandbox of it, as it stands in Redis, and why its session ended; None: we are not that
                node, which is told by its control stream instead.
        """
        due = reads.due(self._redis, self._keys.expiry(name), reads.now(self._redis), limit=PAGE)
        return [swept for line in due if (swept := self._sweep(line, end, None))]

    def sweep_all(self) -> list[Swept]:
        """End what is due now on every node, from any process that reaches Redis."""
        return [swept for name in reads.members(self._redis, self._keys.nodes()) for swept in self.sweep(name, None)]

    def evict(self, name: str, end: Callable[[str, str], None], idle_after_s: float) -> bool:
        """End the session of this node that was idle longest, if that was `idle_after_s` at least; False if none is."""
        lines = reads.members(self._redis, self._keys.expiry(name))
        used_at = {line: reads.field(self._redis, self._keys.session_line(line), "used_at") for line in lines}
        latest = reads.now(self._redis) - idle_after_s
        idle = sorted((float(at), line) for line, at in used_at.items() if at is not None and float(at) <= latest)
        return any(self._sweep(line, end, idle_after_s) for _, line in idle)

    def _sweep(
        self, line: str, end: Callable[[str, str], None] | None, evict_idle_after_s: float | None
    ) -> Swept | None:
        answer = self._run(
            node.sweep(
                self._keys,
                line=line,
                generation=int(reads.field(self._redis, self._keys.session_line(line), "generation") or 0),
                evict_idle_after_s=evict_idle_after_s,
                tombstone_ttl_s=self._tombstone_ttl_s,
                tell_node=end is None,
            )
        )
        if not isinstance(answer, a.Kill):
            return None
        log.info("session_swept", session=line, reason=answer.reason)
        if answer.sandbox and end is not None:
            end(answer.sandbox, answer.reason)
        return Swept(line, answer.reason)
