"""What does a worker hold just now, for Prometheus? Read when asked, from memory and the kernel, never from Redis.

| name | labels |
|---|---|
| `leasebox_worker_info` | version, driver, isolation; always 1 |
| `leasebox_sandboxes` | state: busy, idle, warm (no job has had it) |
| `leasebox_sandbox_places` | how many sandboxes it may hold |
| `leasebox_sandbox_memory_bytes` | held by all its sandboxes, where the kernel counts |
| `leasebox_workspace_bytes` | in all workspaces, as their last jobs left them |
| `leasebox_paused` | reason: `Pause`; 1: it takes no work from the shared queues |
| `leasebox_disk_size_bytes`, `leasebox_disk_free_bytes` | of the filesystem of the state folder |
"""

import os
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from leasebox.contract.errors import LeaseboxError
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.engine.sandboxes import Sandbox, Sandboxes
from leasebox_worker.telemetry.families import Row, gauge, gauges


class Gauges(Collector):
    """Looks at one worker; thread-safe.

    Args:
        bound: How many sandboxes it may hold.
        home: Its state folder.
    """

    def __init__(self, deps: Deps, *, bound: int, home: Path) -> None:
        self._deps = deps
        self._bound = bound
        self._home = home

    def collect(self) -> Iterator[Metric]:
        """What Prometheus gets."""
        sandboxes = self._deps.sandboxes
        info = (version("leasebox"), sandboxes.driver.name, sandboxes.driver.isolation)
        yield gauges("leasebox_worker_info", "What runs jobs.", ["version", "driver", "isolation"], [(info, 1)])
        held = sandboxes.all()
        yield gauges("leasebox_sandboxes", "Sandboxes that are held.", ["state"], _states(held))
        yield gauge("leasebox_sandbox_places", "How many sandboxes this worker may hold.", self._bound)
        yield gauge("leasebox_sandbox_memory_bytes", "Held by all sandboxes.", _memory_bytes(sandboxes, held))
        yield gauge("leasebox_workspace_bytes", "In all workspaces.", sum(sandbox.disk_bytes for sandbox in held))
        reasons = self._deps.intake.reasons
        paused = [((reason,), int(reason in reasons)) for reason in Pause]
        yield gauges("leasebox_paused", "1: takes no work from the shared queues.", ["reason"], paused)
        disk = os.statvfs(self._home)
        yield gauge("leasebox_disk_size_bytes", "Of the state folder's filesystem.", disk.f_blocks * disk.f_frsize)
        yield gauge("leasebox_disk_free_bytes", "Of it, what we may still use.", disk.f_bavail * disk.f_frsize)


def _states(held: list[Sandbox]) -> list[Row]:
    found = Counter("busy" if box.link.is_busy else "warm" if box.is_warm else "idle" for box in held)
    return [((state,), found[state]) for state in ("busy", "idle", "warm")]


def _memory_bytes(sandboxes: Sandboxes, held: list[Sandbox]) -> int:
    total = 0
    for sandbox in held:
        try:
            seen = sandboxes.driver.quick_stats(sandbox.handle)
        except LeaseboxError:
            continue  # it ends in this moment
        total += seen.memory_bytes if seen is not None else 0
    return total
