"""How orders from clients reach this node at once: its control stream. The flags in the records count all the same."""

from collections.abc import Callable

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox_worker.engine.deps import Deps
from leasebox_worker.lifecycle import reads
from leasebox_worker.telemetry.metrics import End

log = structlog.get_logger()

BLOCK_MS = 1000


class Control:
    """Reads the control stream of a node and carries out cancel, close, measure and drain.

    Args:
        leave: Begins to stop this process; told whether to end the sandboxes that would outlive it.
        measure: Begins to measure a session's sandbox; told its line and the sandbox as the record names it.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        node: str,
        deps: Deps,
        leave: Callable[[bool], None],
        measure: Callable[[str, str], None] = lambda _line, _sandbox: None,
    ) -> None:
        self._redis = client
        self._stream = keys.control(node)
        self._deps = deps
        self._leave = leave
        self._measure = measure
        self._cursor = reads.last_id(client, self._stream)

    def read(self) -> None:
        """Wait up to a second for orders, and carry them out."""
        for entry_id, fields in reads.entries_after(self._redis, self._stream, self._cursor, block_ms=BLOCK_MS):
            self._cursor = entry_id
            self._obey(fields)

    def _obey(self, order: dict[str, str]) -> None:
        match order.get("type"):
            case "cancel":
                cancel(order["job"], self._deps)
            case "close" if order.get("sandbox"):
                self._deps.sandboxes.end(order["sandbox"])
            case "measure":
                self._measure(order["line"], order["sandbox"])
            case "drain":
                self._leave(order.get("destroy") == "1")
            case other:
                log.debug("order_unknown", order=other)


def cancel(job: str, deps: Deps) -> None:
    """Stop the job's program if it runs here; what has not started yet is told by `start`."""
    deps.running.cancel(job, deps.cancel_grace_s)


def disown(job: str, lease: str, deps: Deps) -> None:
    """End the sandbox of a claim that Redis took back."""
    sandbox = deps.running.take(job, lease)
    if sandbox is not None:
        deps.sandboxes.discard(sandbox, End.LOST)
