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
    """Ends this node's sessions that are due, by a script that compares once more before it acts."""

    def __init__(self, client: redis.Redis, runner: Runner, keys: Keys, name: str, end: Callable[[str], None]) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._name = name
        self._end = end

    def sweep(self) -> int:
        """End what is due now; how many sessions ended."""
        ended = 0
        for line in reads.due(self._redis, self._keys.expiry(self._name), reads.now(self._redis), limit=1000):
            generation = reads.field(self._redis, self._keys.session_line(line), "generation")
            answer = self._run(node.sweep(self._keys, line=line, generation=int(generation or 0)))
            if isinstance(answer, a.Kill):
                ended += 1
                log.info("session_swept", session=line, reason=answer.reason)
                if answer.sandbox:
                    self._end(answer.sandbox)
        return ended
