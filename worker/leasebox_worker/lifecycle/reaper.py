"""What does any node do for all? Take back what dead nodes held, end what is late, wake what nobody woke."""

import random
import time
from dataclasses import dataclass

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox.contract.queues import Priority
from leasebox.contract.scripts import Runner, client, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle import reads
from leasebox_worker.lifecycle.silence import Silence

log = structlog.get_logger()

SEAL_AFTER_S = 3600.0
"""A batch without a submit for so long has lost its client: it ends with what it has."""
ROUNDS = 3
"""Of `overdue` and of `resend`, that all nodes together make in a period on average; more would be in vain.

A round asks Redis about each node. If each node made one each period, a hundred would ask 6,000 times a second. With
three, the chance that nobody makes one in a period is one in twenty at most, and none at all up to three nodes.
"""


@dataclass(frozen=True, slots=True)
class Graces:
    """Timers of the reaper (PROTOCOL.md (b)), in seconds."""

    look_s: float
    """Between two calls of `reclaim`."""
    reclaim_s: float
    adopt_grace_s: float
    drained_grace_s: float
    resend_grace_s: float


class Reaper:
    """Carries out the scripts of PROTOCOL.md that repair; every one is a compare-and-act, so that all nodes may."""

    def __init__(self, client: redis.Redis, runner: Runner, keys: Keys, graces: Graces) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._graces = graces
        self._silence = Silence(graces.look_s)
        self._dice = random.Random()

    def reclaim(self) -> None:
        """Give up what silent nodes have claimed; let the sessions of those that stay away go on elsewhere."""
        self._silence.look(reads.scores(self._redis, self._keys.nodes()), time.monotonic())
        for name, counter in self._silence.silent(self._graces.reclaim_s).items():
            incarnation = reads.field(self._redis, self._keys.node(name), "incarnation") or ""
            is_dead = bool(reads.field(self._redis, self._keys.node(name), "dead"))
            jobs = self._reclaim(name, incarnation, counter)
            if jobs or not is_dead:
                log.warning("node_reclaimed", silent=name, jobs=jobs)
            if is_dead:
                self._forget(name, incarnation)

    def _reclaim(self, name: str, incarnation: str, counter: float) -> int:
        """Also of a node that is dead already: whoever declared it so may have ended half-way."""
        call = node.reclaim(self._keys, node=name, incarnation=incarnation, seen_counter=counter)
        jobs = 0
        while isinstance(answer := self._run(call), a.Reclaimed):
            jobs += answer.jobs
            if not answer.more:
                break
        return jobs

    def _forget(self, name: str, incarnation: str) -> None:
        is_drained = reads.field(self._redis, self._keys.node(name), "draining") == "1"
        call = node.forget(
            self._keys,
            node=name,
            incarnation=incarnation,
            reason="drained" if is_drained else "lost",
            adopt_grace_s=self._graces.adopt_grace_s,
            drained_grace_s=self._graces.drained_grace_s,
        )
        while isinstance(answer := self._run(call), a.Forgotten):
            log.warning("node_forgotten", gone=name, sessions=answer.sessions)
            if not answer.more:
                return

    def seal(self) -> None:
        """End batches whose client has gone away while it was submitting."""
        until = reads.now(self._redis) - SEAL_AFTER_S
        for batch in reads.due(self._redis, self._keys.batches(), until):
            self._run(client.seal(self._keys, batch=batch, tenant=None))
            log.info("batch_sealed", batch=batch)

    def expire(self) -> None:
        """End queued jobs whose `expires_in_s` has passed."""
        while self._run(node.expire(self._keys)).more:
            pass

    def overdue(self) -> None:
        """Give up claims of live nodes whose deadline has passed with its grace.

        Not while Redis has been back for less than `reclaim_s`: jobs were held without it, and their nodes have yet to
        move the deadlines.
        """
        if self._silence.answering_s < self._graces.reclaim_s:
            return
        names = self._nodes()
        if not self._has_turn(names):
            return
        now = reads.now(self._redis)
        for name in names:
            for job in reads.due(self._redis, self._keys.claims(name), now):
                lease = reads.field(self._redis, self._keys.job(job), "lease")
                if lease:
                    answer = self._run(node.overdue(self._keys, job=job, lease=lease))
                    log.warning("overdue", job_id=job, answer=type(answer).__name__)

    def resend(self) -> None:
        """Wake lines whose wake-up was lost. Reads one message per queue, never the backlog."""
        names = self._nodes()
        if not self._has_turn(names):
            return
        shared = [self._keys.queue(priority) for priority in Priority]
        own = [self._keys.queue(priority, name) for name in names for priority in Priority]
        for queue in shared + own:
            count = self._run(node.resend(self._keys, queue=queue, grace_s=self._graces.resend_grace_s))
            if count:
                log.warning("wakeups_resent", queue=queue, count=count)

    def _has_turn(self, names: list[str]) -> bool:
        """Whether this node makes this period's round: by chance, so that no node must know what another does.

        Args:
            names: All nodes, silent ones too until they are forgotten: while half are silent, half the rounds are made.
        """
        return self._dice.random() * len(names) < ROUNDS

    def _nodes(self) -> list[str]:
        return reads.members(self._redis, self._keys.nodes())
