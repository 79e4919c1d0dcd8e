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

    def sweep(self, name: str, end: Callable[[str], None] | None) -> list[Swept]:
        """End what is due now on one node.

        Args:
            name: The node.
            end: Ends a sandbox of it; None: we are not that node, which is told by its control stream instead.
        """
        ended = []
        for line in reads.due(self._redis, self._keys.expiry(name), reads.now(self._redis), limit=PAGE):
            generation = reads.field(self._redis, self._keys.session_line(line), "generation")
            answer = self._run(
                node.sweep(
                    self._keys,
                    line=line,
                    generation=int(generation or 0),
                    tombstone_ttl_s=self._tombstone_ttl_s,
                    tell_node=end is None,
                )
            )
            if isinstance(answer, a.Kill):
                ended.append(Swept(line, answer.reason))
                log.info("session_swept", session=line, reason=answer.reason)
                if answer.sandbox and end is not None:
                    end(answer.sandbox)
        return ended

    def sweep_all(self) -> list[Swept]:
        """End what is due now on every node, from any process that reaches Redis."""
        return [swept for name in reads.members(self._redis, self._keys.nodes()) for swept in self.sweep(name, None)]
