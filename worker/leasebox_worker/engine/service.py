"""How does this node stay in service? It beats; and when it is told that it was given up, it starts over."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import redis
import structlog

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers as a
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.holder import Holder, at_once
from leasebox_worker.engine.intake import Pause
from leasebox_worker.lifecycle import reads
from leasebox_worker.lifecycle.node import Node, Orders, Standing

log = structlog.get_logger()


@dataclass(slots=True)
class Service:
    """One node's standing with Redis.

    Attributes:
        client: Answers or fails within a heartbeat or so, and does not try again by itself: the fence counts from the
            sending, so a late answer is of no use.
        lost_name: Ends this process; another one has its name.
        renewed: Told the incarnation as which the node goes on after it was given up.
    """

    client: redis.Redis
    keys: Keys
    node: Node
    deps: Deps
    holder: Holder
    orders: Orders
    reclaim_s: float
    lost_name: Callable[[], None]
    renewed: Callable[[str], None] = lambda _incarnation: None
    _run_id: str = ""
    _next: str | None = None

    def beat(self) -> None:
        """Heartbeat, and what its answer asks for.

        Raises:
            redis.RedisError: No answer.
        """
        if self._next is not None:
            self._start_over()
            return
        self._look_at_redis()
        sent_at = time.monotonic()
        standing = self.node.heartbeat(
            self.orders,
            busy=len(self.deps.running),
            draining=self.deps.is_draining,
            paused=sorted(self.deps.intake.reasons),
        )
        match standing:
            case Standing.ALIVE:
                self.holder.answered(sent_at)
            case Standing.FENCED:
                self._start_over()
            case Standing.NAME_TAKEN:
                self._lose_name()

    def _look_at_redis(self) -> None:
        """A Redis that was started anew may have lost the last second: tell it again what was settled."""
        run_id = reads.run_id(self.client)
        if run_id == self._run_id:
            self.deps.tracker.redis_is_unharmed()
            return
        if self._run_id:
            log.warning("redis_restarted", settled_again=self.deps.tracker.replay())
        self._run_id = run_id

    def _start_over(self) -> None:
        """Others have taken what we held: kill it, register as another incarnation, keep what lies idle."""
        self._next = self._next or uuid.uuid4().hex[:12]
        log.error("node_was_given_up", incarnation=self._next)
        deps = self.deps
        deps.fence.shut()
        deps.intake.pause(Pause.FENCED)
        claimed = deps.running.sandboxes()
        at_once([s for s in deps.sandboxes.all() if s.link.is_busy or s in claimed], deps.sandboxes.destroy)
        sent_at = time.monotonic()
        try:
            adopted = self.node.adopt(
                self._idle(), has_proof=True, reclaim_s=self.reclaim_s, wait_s=0.0, incarnation=self._next
            )
        except ConfigError:
            self._lose_name()
            return
        kept = {json.loads(found.sandbox)["name"] for found in adopted.keep}
        for sandbox in deps.sandboxes.all():
            if sandbox.name not in kept:
                deps.sandboxes.discard(sandbox)
        deps.tracker.renew(self._next)
        deps.sandboxes.renew(self._next)
        self.renewed(self._next)
        self._next = None
        self.holder.start_over(sent_at)

    def _idle(self) -> list[a.FoundSandbox]:
        """Sessions that Redis knows here and whose sandbox is at rest."""
        held = {sandbox.name for sandbox in self.deps.sandboxes.all()}
        found = []
        for line in reads.set_members(self.client, self.keys.node_sessions(self.deps.tracker.identity.node)):
            sandbox = reads.field(self.client, self.keys.session_line(line), "sandbox")
            generation = reads.field(self.client, self.keys.session_line(line), "generation")
            if sandbox and generation and json.loads(sandbox)["name"] in held:
                found.append(a.FoundSandbox(line, int(generation), sandbox))
        return found

    def _lose_name(self) -> None:
        log.error("node_name_lost", node=self.deps.tracker.identity.node)
        self.deps.is_draining = self.deps.is_leaving = True
        self.deps.fence.shut()
        self.deps.fence.end()
        self.deps.sandboxes.discard_all()  # what ran here may run elsewhere now
        self.lost_name()
