"""Which leases this process holds, and the scripts that take, use and give them back."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from leasebox.contract.errors import LeaseLost
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, worker
from leasebox.contract.scripts import answers as a
from leasebox.contract.scripts.call import Call
from leasebox_worker.lifecycle.blobs import Blobs

log = structlog.get_logger()

REPLAY_S = 5.0
"""Settles of so long before Redis was last seen unharmed are sent again: the AOF is a second behind, at most two."""
MOST_REPLAYED = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """This process as a node: a name that survives restarts, and an incarnation that does not."""

    node: str
    incarnation: str


@dataclass(slots=True)
class _Held:
    lease: str
    deadline: float
    is_moved: bool = False


class LeaseTracker:
    """Takes, keeps and gives back leases; thread-safe.

    A lease id is `<incarnation>:<n>`, chosen here, so that a script whose answer was lost can be asked again.
    """

    def __init__(self, runner: Runner, keys: Keys, identity: Identity, *, start_timeout_s: float) -> None:
        self._run = runner.run
        self.blobs = Blobs(runner, keys)
        self._keys = keys
        self.identity = identity
        self._start_timeout_s = start_timeout_s
        self._numbers = itertools.count(1)
        self._held: dict[str, _Held] = {}
        self._settling: set[str] = set()
        self._settled: deque[tuple[float, Call[a.SettleAnswer]]] = deque(maxlen=MOST_REPLAYED)
        self._lock = threading.Lock()

    def new_lease(self) -> str:
        """A lease id that was never used."""
        return f"{self.identity.incarnation}:{next(self._numbers)}"

    def held(self) -> list[tuple[str, str, float | None]]:
        """(job, lease, seconds to the deadline if it was moved) of everything that this process holds."""
        with self._lock:
            now = time.monotonic()
            return [
                (job, held.lease, held.deadline - now if held.is_moved else None) for job, held in self._held.items()
            ]

    def holds(self, lease: str) -> bool:
        """Whether this process holds a lease."""
        with self._lock:
            return any(held.lease == lease for held in self._held.values())

    def postpone(self, by_s: float) -> None:
        """Everything held stood still for so long: its deadlines move, and the next heartbeat says so."""
        with self._lock:
            for held in self._held.values():
                held.deadline += by_s
                held.is_moved = True

    def renew(self, incarnation: str) -> None:
        """Go on as another incarnation: nothing of the older one is held any more."""
        with self._lock:
            self.identity = replace(self.identity, incarnation=incarnation)
            self._held.clear()

    def keep(self, work: a.Work) -> None:
        """Count a lease as held, from the answer that granted it on."""
        with self._lock:
            self._held[work.job] = _Held(work.lease, time.monotonic() + self._start_timeout_s)

    def drop(self, work: a.Work) -> None:
        """Count a lease as no longer held; the heartbeat gives the claim up if it still stands."""
        with self._lock:
            self._forget(work.job, work.lease)

    def forfeit(self, job: str, lease: str) -> bool:
        """Drop a lease that a heartbeat called not ours; False if that says nothing (any more).

        It may have been settled or given back while the heartbeat was under way, and the job may be ours again under
        another lease. One that is being settled is told by `settle` itself.
        """
        with self._lock:
            return lease not in self._settling and self._forget(job, lease)

    def _forget(self, job: str, lease: str) -> bool:
        held = self._held.get(job)
        if held is None or held.lease != lease:
            return False
        del self._held[job]
        return True

    def acquire(self, job: str, lease: str, *, draining: bool, room: bool) -> a.AcquireAnswer:
        """Claim the head of the job's line. Every answer but `Leased` and `Cold` means: drop the wake-up."""
        answer = self._run(
            worker.acquire(
                self._keys,
                job=job,
                node=self.identity.node,
                incarnation=self.identity.incarnation,
                lease=lease,
                draining=draining,
                room=room,
                start_timeout_s=self._start_timeout_s,
            )
        )
        if isinstance(answer, a.Leased | a.Cold):
            self.keep(answer.work)
        return answer

    def bind(self, work: a.Work, sandbox: str, *, why: str) -> a.Bound | a.SessionExpired:
        """Give a new sandbox to the line.

        Raises:
            LeaseLost: Another holder took over; destroy the sandbox.
        """
        answer = self._run(
            worker.bind(self._keys, job=work.job, lease=work.lease, node=self.identity.node, sandbox=sandbox, why=why)
        )
        if isinstance(answer, a.LeaseLost | a.Gone):
            raise self._lost(work)
        return answer

    def start(self, work: a.Work, *, deadline_s: float, sandbox_name: str) -> a.Go | a.Cancelled:
        """Write `running`; only then may the exec frame leave.

        Raises:
            LeaseLost: Another holder took over; nothing may be started.
        """
        answer = self._run(
            worker.start(
                self._keys,
                job=work.job,
                lease=work.lease,
                deadline_s=deadline_s,
                frame=work.lease,
                sandbox=sandbox_name,
            )
        )
        if isinstance(answer, a.LeaseLost | a.Gone):
            raise self._lost(work)
        with self._lock:
            held = self._held.get(work.job)
            if held is not None and held.lease == work.lease:
                held.deadline, held.is_moved = time.monotonic() + deadline_s + worker.OVERDUE_GRACE_S, False
        return answer

    def emit(self, work: a.Work, chunks: Sequence[worker.Chunk]) -> bool:
        """Append output; True if a cancel was requested.

        Raises:
            LeaseLost: Another holder took over; kill at once.
        """
        answer = self._run(worker.emit(self._keys, job=work.job, lease=work.lease, claims=work.claims, chunks=chunks))
        if isinstance(answer, a.LeaseLost | a.Gone):
            raise self._lost(work)
        return answer.cancel_requested

    def settle(
        self,
        work: a.Work,
        ending: worker.Ending,
        chunks: Sequence[worker.Chunk],
        *,
        next_lease: str,
        may_continue: bool,
        sandbox_alive: bool,
        sandbox_reason: str,
    ) -> a.Next | a.Free:
        """End the job, in one script with its last output; perhaps answers with the next job of the line.

        Raises:
            LeaseLost: Another holder took over; the result was dropped.
        """
        call = worker.settle(
            self._keys,
            job=work.job,
            lease=work.lease,
            end=ending,
            last_chunks=chunks,
            next_lease=next_lease,
            may_continue=may_continue,
            sandbox_alive=sandbox_alive,
            sandbox_reason=sandbox_reason,
            start_timeout_s=self._start_timeout_s,
        )
        with self._settling_of(work):
            answer = self._run(call)
            if isinstance(answer, a.LeaseLost | a.Gone):
                raise self._lost(work)
            self.drop(work)
            self._settled.append((time.monotonic(), call))
        if isinstance(answer, a.Next):
            self.keep(answer.work)
        return answer

    def redis_is_unharmed(self) -> None:
        """Redis still is the one that has answered all along: what it settled a while ago needs no repeat."""
        until = time.monotonic() - REPLAY_S
        while self._settled and self._settled[0][0] < until:
            self._settled.popleft()

    def replay(self) -> int:
        """Redis has started anew and may have lost its last second: settle again what was settled lately; how much.

        A job that it knows as settled is not touched. A next job that only the repeat has claimed goes back.
        """
        calls = list(self._settled)
        for _, call in calls:
            answer = self._run(call)
            if isinstance(answer, a.Next) and not self.holds(answer.work.lease):
                self.give_up(answer.work, worker.Why.DRAIN, "")
        return len(calls)

    @contextmanager
    def _settling_of(self, work: a.Work) -> Iterator[None]:
        with self._lock:
            self._settling.add(work.lease)
        try:
            yield
        finally:
            with self._lock:
                self._settling.discard(work.lease)

    def give_up(self, work: a.Work, why: worker.Why, detail: str) -> a.GiveUpAnswer:
        """Give the claim back: the job is queued again where it stands, or ends with this reason."""
        self.drop(work)
        return self._run(worker.give_up(self._keys, job=work.job, lease=work.lease, why=why, detail=detail))

    def _lost(self, work: a.Work) -> LeaseLost:
        self.drop(work)
        return LeaseLost(f"job {work.job} has another holder")
