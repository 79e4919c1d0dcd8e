"""How does a worker take leave? What has not started goes back, what runs gets a bounded time, then all of it ends."""

import threading
import time
from collections.abc import Callable, Iterator

import redis
import structlog

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.holder import at_once
from leasebox_worker.engine.intake import Pause
from leasebox_worker.lifecycle import reads
from leasebox_worker.lifecycle.silence import Silence

log = structlog.get_logger()

HURRY_S = 2.0
"""What still runs gets so long after the second signal."""
POLL_S = 0.1
ASK_POLL_S = 0.5


class Drain:
    """The bounded end of a worker; Celery's own waits for its threads as long as they take.

    Args:
        close: Called when the time is over, before what runs is ended: nothing waits for Redis any more.

    Attributes:
        is_through: Set when nothing that runs here is waited for any more.
    """

    def __init__(self, deps: Deps, *, timeout_s: float, close: Callable[[], None]) -> None:
        self._deps = deps
        self._timeout_s = timeout_s
        self._close = close
        self._until: float | None = None
        self.is_through = threading.Event()

    def signalled(self) -> None:
        """Begin; the second time: hurry. Returns at once and takes no lock, since a signal's handler calls it."""
        if self._until is None:
            self._deps.is_draining = True
            self._until = time.monotonic() + self._timeout_s
            threading.Thread(target=self._run, name="drain", daemon=True).start()
        else:
            self._until = min(self._until, time.monotonic() + HURRY_S)

    def _run(self) -> None:
        log.info("draining", running=len(self._deps.running), timeout_s=self._timeout_s)
        self._deps.intake.pause(Pause.DRAINING)
        assert self._until is not None
        pause = threading.Event()
        while time.monotonic() < self._until and len(self._deps.tracker.held()) > 0:
            pause.wait(POLL_S)
        held = {lease for _, lease, _ in self._deps.tracker.held()}
        # Not all that is noted as running: a session whose job was settled a moment ago is idle, and may be kept.
        left = self._deps.running.under(held)
        if held:
            log.warning("drain_timeout", running=len(left))
        self._deps.is_leaving = True
        self._close()
        self._deps.fence.end()
        at_once(left, self._deps.sandboxes.destroy)
        self.is_through.set()


def ask_node(client: redis.Redis, keys: Keys, node: str, *, destroy: bool) -> None:
    """Ask a node to drain, by its control stream.

    Raises:
        ConfigError: There is no such node.
    """
    if node not in reads.scores(client, keys.nodes()):
        raise ConfigError(f"there is no node {node!r}", hint="`leasebox nodes` lists them")
    client.xadd(keys.control(node), {"type": "drain", "destroy": "1" if destroy else ""}, maxlen=1000)


def progress(client: redis.Redis, keys: Keys, node: str, *, gone_after_s: float, until: float) -> Iterator[str]:
    """What a draining node does, a line for each change, until it has gone: forgotten, or silent for so long.

    Args:
        until: Of the monotonic clock; then the last line says that it has not gone.
    """
    silence, said = Silence(ASK_POLL_S), ""
    pause = threading.Event()
    while time.monotonic() < until:
        counters = reads.scores(client, keys.nodes())
        silence.look(counters, time.monotonic())
        if node not in counters or node in silence.silent(gone_after_s):
            yield f"{node} has gone"
            return
        busy = reads.field(client, keys.node(node), "busy") or "0"
        is_draining = reads.field(client, keys.node(node), "draining") == "1"
        line = f"{node} is draining, {busy} running" if is_draining else f"{node} was asked to drain"
        if line != said:
            said = line
            yield line
        pause.wait(ASK_POLL_S)
    yield f"{node} has not gone yet"
