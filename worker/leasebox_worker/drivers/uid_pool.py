"""Which uid may a sandbox's jobs have, so that no two on this host share one? One that nobody else has locked.

A lock file per uid, held by flock(2): the kernel lets go when the worker dies, so nothing has to be swept.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from leasebox.contract.errors import StartFailed
from leasebox_worker.drivers.hardening import POOL_UID_BASE, POOL_UIDS

DEFAULT_FOLDER = Path("/run/leasebox/uids")
"""One for the host: uids are the host's, whatever installation uses them."""


@dataclass(frozen=True)
class UidClaim:
    """A uid (and gid) that is ours until `release`."""

    uid: int
    lock: int

    def release(self) -> None:
        """Let another sandbox have it; all processes of the uid must be dead."""
        os.close(self.lock)


class UidPool:
    """Uids 200000 and up. Needs root, as using them does."""

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        """Makes the folder of lock files when the first uid is asked for."""
        self._folder = folder
        self._next = 0

    def claim(self) -> UidClaim:
        """The next free uid; recently freed ones come last.

        Raises:
            StartFailed: All are in use.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for step in range(POOL_UIDS):
            slot = (self._next + step) % POOL_UIDS
            lock = self._lock(slot)
            if lock is not None:
                self._next = slot + 1
                return UidClaim(POOL_UID_BASE + slot, lock)
        raise StartFailed(f"all {POOL_UIDS} uids of the pool are in use")

    def _lock(self, slot: int) -> int | None:
        path = self._folder / str(POOL_UID_BASE + slot)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


@contextmanager
def released_on_error(claim: UidClaim | None) -> Iterator[None]:
    """Give a claim back when the sandbox it was for did not start."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if claim:
                claim.release()
        raise
