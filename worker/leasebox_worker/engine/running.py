"""Which claim runs in which sandbox? What cancels, heartbeats and later claims of a job ask."""

import threading
from collections.abc import Collection
from dataclasses import dataclass

from leasebox.contract.scripts.answers import Work
from leasebox_worker.engine.sandboxes import Sandbox


@dataclass(slots=True)
class _Claim:
    lease: str
    sandbox: Sandbox
    is_cancelled: bool = False


class Running:
    """The claims of this process that have a sandbox, by job; thread-safe.

    Everything that changes names the lease: Redis may give a job to another thread of this very process.
    """

    def __init__(self) -> None:
        self._claims: dict[str, _Claim] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._claims)

    def sandboxes(self) -> list[Sandbox]:
        """Of every claim."""
        with self._lock:
            return [claim.sandbox for claim in self._claims.values()]

    def under(self, leases: Collection[str]) -> list[Sandbox]:
        """Of the claims under these leases; what was settled may still be noted here for a moment."""
        with self._lock:
            return [claim.sandbox for claim in self._claims.values() if claim.lease in leases]

    def put(self, work: Work, sandbox: Sandbox) -> Sandbox | None:
        """Note that a claim has its sandbox; the sandbox of an older claim of the job, which must end now."""
        with self._lock:
            older = self._claims.get(work.job)
            self._claims[work.job] = _Claim(work.lease, sandbox)
        return None if older is None or older.lease == work.lease else older.sandbox

    def take(self, job: str, lease: str) -> Sandbox | None:
        """Forget a claim; its sandbox, None if it is not (or no longer) noted under this lease."""
        with self._lock:
            claim = self._claims.get(job)
            if claim is None or claim.lease != lease:
                return None
            del self._claims[job]
        return claim.sandbox

    def cancel(self, job: str, grace_s: float) -> None:
        """Stop what runs for a job; what has not started yet is told by `start` or by `cancel_again`.

        Raises:
            SandboxDied: Its channel is closed.
        """
        claim = self._claims.get(job)
        if claim is not None:
            claim.is_cancelled = True
            claim.sandbox.link.cancel(claim.lease, grace_s)

    def cancel_again(self, work: Work, grace_s: float) -> None:
        """After the program was started: repeat a cancel that came between `start` and then."""
        claim = self._claims.get(work.job)
        if claim is not None and claim.lease == work.lease and claim.is_cancelled:
            claim.sandbox.link.cancel(claim.lease, grace_s)
