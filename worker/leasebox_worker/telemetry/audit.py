"""How does what a worker sees get into the audit chain? Gathered behind its jobs, then written by a duty of its own."""

import threading
import time
from collections.abc import Sequence

import redis
import structlog

from leasebox.contract.audit import MAX_BATCH, START, Backlog, Door, Head, Record, Signer
from leasebox.contract.carry import carry_out
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, audit

log = structlog.get_logger()

FLUSH_S = 1.0
"""Between two looks for records; a worker that is killed loses what it has not written."""


class AuditLog:
    """What one worker tells; `note` may be called from any thread and waits for nothing.

    Args:
        node: Who tells it.
    """

    def __init__(self, runner: Runner, keys: Keys, signer: Signer, node: str) -> None:
        self._runner = runner
        self._keys = keys
        self._signer = signer
        self._node = node
        self._backlog = Backlog()
        self._head = START
        self._writing = threading.Lock()

    def note(self, action: str, target: str, result: str, *, tenant: str = "", **more: str | int | None) -> None:
        """Tell something; what is None is not known."""
        known = {name: value for name, value in more.items() if value is not None}
        at, door = time.time(), Door.WORKER
        self._backlog.put(Record(at, door, action, self._node, tenant, target, result, more=known))

    def flush(self) -> None:
        """Write all that there is.

        Raises:
            redis.RedisError: Redis does not answer; what is not written waits.
        """
        with self._writing:
            while records := self._backlog.first():
                self._head = write(self._runner, self._keys, self._signer, records, self._head)
                self._backlog.done(len(records))

    def end(self, *, is_heard: bool) -> None:
        """Write the last of it, or say how much is lost.

        Args:
            is_heard: Redis is there; else it is not waited for.
        """
        try:
            if is_heard:
                self.flush()
        except redis.RedisError as exc:
            log.warning("audit_not_written", reason=str(exc))
        if lost := len(self._backlog):
            log.error("audit_lost", count=lost)


def write(runner: Runner, keys: Keys, signer: Signer, records: Sequence[Record], head: Head = START) -> Head:
    """Put records into the chain, at once; gives its new end.

    Raises:
        redis.RedisError: Unchanged; call again with the same records and head.
    """
    for place in range(0, len(records), MAX_BATCH):
        flow = audit.written(keys, signer, records[place : place + MAX_BATCH], head)
        head = carry_out(flow, runner.run)
    return head
