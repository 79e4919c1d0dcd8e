"""Where does the standard input of a job stand that is fed live? In a stream: read from an id, trimmed when taken."""

from typing import NamedTuple

import redis

from leasebox.contract.errors import LeaseLost
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, worker
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle import reads

START = "0-0"
BLOCK_MS = 1000
COUNT = 4
"""Entries of one read: so much input is in this process at most, beside what the guest has on credit."""


class InputEntry(NamedTuple):
    """A piece of input, in the order in which it was written; `is_end`: nothing follows."""

    id: str
    data: bytes
    is_end: bool


class Inputs:
    """The input streams of the jobs of one installation; thread-safe."""

    def __init__(self, client: redis.Redis, runner: Runner, keys: Keys) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys

    def after(self, job: str, cursor: str) -> list[InputEntry]:
        """What was written after the entry `cursor`; waits up to a second for the first. Read twice, it is the same."""
        found = reads.raw_entries_after(self._redis, self._keys.stdin(job), cursor, count=COUNT, block_ms=BLOCK_MS)
        return [InputEntry(entry, fields[b"data"], fields[b"eof"] == b"1") for entry, fields in found]

    def taken(self, work: a.Work, entry: str) -> None:
        """The guest has accepted everything up to an entry: those who write may write so much more.

        Raises:
            LeaseLost: Another holder took over.
        """
        answer = self._run(worker.taken(self._keys, job=work.job, lease=work.lease, entry=entry))
        if not isinstance(answer, a.Taken):
            raise LeaseLost(f"job {work.job} has another holder")
