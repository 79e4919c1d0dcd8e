"""What does the sandbox of a session use now? Measured by the host, when a client asks, beside whatever runs in it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
import structlog

from leasebox.contract.errors import LeaseboxError
from leasebox.contract.metrics import Health, SandboxMetrics
from leasebox_worker.drivers.base import Stats
from leasebox_worker.engine.counts import Sample
from leasebox_worker.engine.sandboxes import Sandbox, Sandboxes

log = structlog.get_logger()

SHORTEST_S = 0.1
"""Over less time a share of a processor is noise: the kernel counts in ticks of up to 10 ms."""
LONGEST_S = 10.0
"""A measurement that is older says nothing of now."""
_AT_ONCE = 4


def cpu_percent(before: Sample | None, now: Sample) -> float | None:
    """The share of one processor between two samples; None if these are too near or too far apart to tell."""
    if before is None or not SHORTEST_S <= now.at - before.at <= LONGEST_S:
        return None
    return round(100 * max(0.0, now.cpu_s - before.cpu_s) / (now.at - before.at), 1)


class Measurer:
    """Measures in threads of its own, which exist while somebody asks; thread-safe.

    Args:
        tell: Called with a session's line, its sandbox as the record names it, and the measures as JSON.
    """

    def __init__(self, sandboxes: Sandboxes, tell: Callable[[str, str, str], object]) -> None:
        self._sandboxes = sandboxes
        self._tell = tell
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="measure")

    def ask(self, line: str, text: str) -> None:
        """Measure soon; an order that comes while the same is under way is answered with that."""
        with self._lock:
            if line in self._under_way:
                return
            self._under_way.add(line)
        self._threads.submit(self._answer, line, text)

    def _answer(self, line: str, text: str) -> None:
        try:
            sandbox = self._sandboxes.named(text)
            if sandbox is not None:
                self._tell(line, text, self.measure(sandbox).model_dump_json())
        except (LeaseboxError, redis.RedisError) as exc:
            log.warning("session_not_measured", session=line, reason=str(exc))
        finally:
            with self._lock:
                self._under_way.discard(line)

    def measure(self, sandbox: Sandbox) -> SandboxMetrics:
        """What a sandbox uses; takes a tenth of a second where it was not measured lately.

        Raises:
            SandboxDied: It is gone.
        """
        stats, percent = self._look(sandbox)
        if percent is None:
            time.sleep(SHORTEST_S)
            stats, percent = self._look(sandbox)
        missed, traffic = sandbox.link.pulse.missed, sandbox.carried.total
        return SandboxMetrics(
            sandbox=sandbox.name,
            cpu_percent=percent or 0.0,
            cpu_s=stats.cpu_s,
            memory_bytes=stats.memory_bytes,
            memory_peak_bytes=stats.memory_peak_bytes,
            disk_bytes=sandbox.disk_bytes if stats.disk_bytes is None else stats.disk_bytes,
            network_in_bytes=traffic.bytes_in,
            network_out_bytes=traffic.bytes_out,
            processes=stats.pids,
            health=Health.FAILING if missed else Health.HEALTHY,
            health_failures=missed,
        )

    def _look(self, sandbox: Sandbox) -> tuple[Stats, float | None]:
        stats = self._sandboxes.driver.stats(sandbox.handle)
        now = Sample(time.monotonic(), stats.cpu_s)
        percent = cpu_percent(sandbox.sampled, now)
        sandbox.sampled = now
        return stats, percent
