"""How orders from clients reach this node at once: its control stream. The flags in the records count all the same."""

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox_worker.engine.runner import Deps

log = structlog.get_logger()

BLOCK_MS = 1000


class Control:
    """Reads the control stream of a node and carries out cancel and close."""

    def __init__(self, client: redis.Redis, keys: Keys, node: str, deps: Deps) -> None:
        self._redis = client
        self._stream = keys.control(node)
        self._deps = deps
        last = client.xrevrange(self._stream, count=1)
        self._cursor: bytes = last[0][0] if last else b"0-0"

    def read(self) -> None:
        """Wait up to a second for orders, and carry them out."""
        for _, entries in self._redis.xread({self._stream: self._cursor}, count=64, block=BLOCK_MS) or []:
            for entry_id, fields in entries:
                self._cursor = entry_id
                self._obey(fields)

    def _obey(self, fields: dict[bytes, bytes]) -> None:
        order = fields.get(b"order", b"").decode()
        if order == "cancel" and b"job" in fields:
            cancel(fields[b"job"].decode(), self._deps)
        elif order in ("close", "kill") and fields.get(b"sandbox"):
            self._deps.sandboxes.end(fields[b"sandbox"].decode())
        else:
            log.debug("order_unknown", order=order)


def cancel(job: str, deps: Deps) -> None:
    """Stop the job's program if it runs here; what has not started yet is told by `start`."""
    sandbox = deps.running.get(job)
    if sandbox is not None:
        sandbox.link.cancel(deps.cancel_grace_s)


def disown(job: str, deps: Deps) -> None:
    """End the sandbox of a job that Redis gave to somebody else."""
    sandbox = deps.running.pop(job, None)
    deps.tracker.drop(job)
    if sandbox is not None:
        deps.sandboxes.discard(sandbox)
