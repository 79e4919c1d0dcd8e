"""Duties that any node may do for all: expire what waited too long, end what is overdue, resend lost wake-ups."""

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox.contract.queues import Priority
from leasebox.contract.scripts import Runner, node
from leasebox_worker.lifecycle import reads

log = structlog.get_logger()


class Reaper:
    """Carries out the scripts of PROTOCOL.md that repair; every one is a compare-and-act, so that all nodes may."""

    def __init__(self, client: redis.Redis, runner: Runner, keys: Keys, *, resend_grace_s: float) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._resend_grace_s = resend_grace_s

    def expire(self) -> None:
        """End queued jobs whose `expires_in_s` has passed."""
        while self._run(node.expire(self._keys)).more:
            pass

    def overdue(self) -> None:
        """Give up claims of live nodes whose deadline has passed with its grace."""
        now = reads.now(self._redis)
        for name in self._nodes():
            for job in reads.due(self._redis, self._keys.claims(name), now):
                lease = reads.field(self._redis, self._keys.job(job), "lease")
                if lease:
                    answer = self._run(node.overdue(self._keys, job=job, lease=lease))
                    log.warning("overdue", job_id=job, answer=type(answer).__name__)

    def resend(self) -> None:
        """Wake lines whose wake-up was lost. Reads one message per queue, never the backlog."""
        shared = [self._keys.queue(priority) for priority in Priority]
        own = [self._keys.queue(priority, name) for name in self._nodes() for priority in Priority]
        for queue in shared + own:
            count = self._run(node.resend(self._keys, queue=queue, grace_s=self._resend_grace_s))
            if count:
                log.warning("wakeups_resent", queue=queue, count=count)

    def _nodes(self) -> list[str]:
        return reads.members(self._redis, self._keys.nodes())
