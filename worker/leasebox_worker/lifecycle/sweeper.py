"""Who ends idle sessions? The node that has their sandbox, every minute; a job that comes in between wins."""

from collections.abc import Callable

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle import reads

log = structlog.get_logger()


class Sweeper:
    """Ends this node's sessions that are due, by a script that compares once more before it acts.

    Args:
        end: Called with a sandbox, as it stands in Redis, and why its session ended.
    """

    def __init__(
        self, client: redis.Redis, runner: Runner, keys: Keys, name: str, end: Callable[[str, str], None]
    ) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._name = name
        self._end = end

    def sweep(self) -> int:
        """End what is due now; how many sessions ended."""
        ended = 0
        for line in reads.due(self._redis, self._keys.expiry(self._name), reads.now(self._redis), limit=1000):
            ended += self._sweep(line, None)
        return ended

    def evict(self, idle_after_s: float) -> bool:
        """End the session of this node that was idle longest, if that was `idle_after_s` at least; False if none is."""
        lines = reads.members(self._redis, self._keys.expiry(self._name))
        used_at = {line: reads.field(self._redis, self._keys.session_line(line), "used_at") for line in lines}
        latest = reads.now(self._redis) - idle_after_s
        idle = sorted((float(at), line) for line, at in used_at.items() if at is not None and float(at) <= latest)
        return any(self._sweep(line, idle_after_s) for _, line in idle)

    def _sweep(self, line: str, evict_idle_after_s: float | None) -> bool:
        generation = int(reads.field(self._redis, self._keys.session_line(line), "generation") or 0)
        answer = self._run(
            node.sweep(self._keys, line=line, generation=generation, evict_idle_after_s=evict_idle_after_s)
        )
        if not isinstance(answer, a.Kill):
            return False
        log.info("session_swept", session=line, reason=answer.reason)
        if answer.sandbox:
            self._end(answer.sandbox, answer.reason)
        return True
