"""What happens to the jobs of a node that Redis does not answer? They are stopped where they stand, and go on later.

The node cannot tell whether only itself is cut off; others will take its jobs after `reclaim_s`. So nothing runs on
after `fence_s`, and nothing goes on before Redis has said what is still ours (PROTOCOL.md flaw 3).
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import structlog

from leasebox.contract.errors import LeaseboxError
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.sandboxes import Sandbox

log = structlog.get_logger()

WATCH_S = 0.25
HOLD_WITHIN_S = 1.0
"""An agent that has not stopped its job by then loses its sandbox."""
KILL_WITHIN_S = 3.0
"""A driver that takes longer to kill goes on in the background."""


class Holder:
    """Closes the fence by its clock, holds what runs, and lets go what is still ours.

    Args:
        held_max_s: A job that was held for so long in all is ended.
    """

    def __init__(self, deps: Deps, *, held_max_s: float) -> None:
        self._deps = deps
        self._held_max_s = held_max_s
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Look at the clock; while the fence is shut, hold also what began to run a moment before."""
        with self._lock:
            if not self._deps.fence.is_shut:
                return
            if not self._deps.fence.is_marked:
                log.warning("fence_shut", running=len(self._deps.running))
            self._deps.fence.shut()
            self._deps.intake.pause(Pause.FENCED)
            sandboxes = self._deps.sandboxes.all()
            over = [sandbox for sandbox in sandboxes if sandbox.link.held_s > self._held_max_s]
            at_once([s for s in sandboxes if s.link.is_busy and s not in over], self._hold)
            at_once(over, self._end)

    def answered(self, sent_at: float) -> None:
        """A heartbeat that was sent then was answered `Alive`, and what is not ours has been disowned."""
        with self._lock:
            fence = self._deps.fence
            if not fence.is_marked:
                fence.answered(sent_at)
            elif fence.is_recent(sent_at):
                self._open(sent_at)

    def start_over(self, sent_at: float) -> None:
        """This node is in service again as another incarnation, which holds nothing."""
        with self._lock:
            self._open(sent_at)

    def _open(self, sent_at: float) -> None:
        at_once([sandbox for sandbox in self._deps.sandboxes.all() if sandbox.link.is_held], self._let_go)
        shut_s = self._deps.fence.open(sent_at)
        self._deps.tracker.postpone(shut_s)
        self._deps.intake.resume(Pause.FENCED)
        log.info("fence_open", shut_s=round(shut_s, 3))

    def _hold(self, sandbox: Sandbox) -> None:
        try:
            if sandbox.link.hold(HOLD_WITHIN_S):
                return
            log.warning("job_not_held", sandbox=sandbox.name)
        except LeaseboxError as exc:
            log.warning("job_not_held", sandbox=sandbox.name, reason=str(exc))
        self._deps.sandboxes.destroy(sandbox)

    def _let_go(self, sandbox: Sandbox) -> None:
        lease = sandbox.link.lease
        if lease is not None and not self._deps.tracker.holds(lease):
            self._deps.sandboxes.destroy(sandbox)
            return
        try:
            sandbox.link.resume()
        except LeaseboxError as exc:
            log.warning("sandbox_lost", sandbox=sandbox.name, reason=str(exc))
            self._deps.sandboxes.discard(sandbox)

    def _end(self, sandbox: Sandbox) -> None:
        log.warning("held_too_long", sandbox=sandbox.name)
        self._deps.sandboxes.destroy(sandbox)


def at_once(sandboxes: Sequence[Sandbox], act: Callable[[Sandbox], None]) -> None:
    """Do it to all in parallel: one that does not answer must not keep the others running."""
    if not sandboxes:
        return
    pool = ThreadPoolExecutor(len(sandboxes), thread_name_prefix="holder")
    done, late = wait([pool.submit(act, sandbox) for sandbox in sandboxes], HOLD_WITHIN_S + KILL_WITHIN_S)
    pool.shutdown(wait=False)
    if late:
        log.error("sandboxes_do_not_end", count=len(late))
    for future in done:
        future.result()
