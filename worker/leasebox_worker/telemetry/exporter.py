"""What stands in Redis, for Prometheus? A process of its own tells it, so that it is told also when no worker lives.

| name | labels |
|---|---|
| `leasebox_redis_up` | 1: it answered this scrape; else there is nothing of the rest |
| `leasebox_redis_memory_used_bytes` | where Redis tells it |
| `leasebox_redis_memory_max_bytes` | its bound; where it has none, what its machine has |
| `leasebox_queued_jobs` | class |
| `leasebox_runnable_lines` | class; sessions and single jobs that a node could take now |
| `leasebox_wakeups` | class; messages that no worker has taken |
| `leasebox_longest_wait_seconds` | class; since when the line that waits longest could have been taken |
| `leasebox_deferred_lines`, `leasebox_parked_lines` | in back-off; of tenants that run as many jobs as they may |
| `leasebox_jobs_ended_total` | class, outcome: all that ever ended, also where no worker saw it |
| `leasebox_nodes` | state: up, draining, silent, dead |
| `leasebox_node_up` | node |
| `leasebox_node_lost` | node; 1: silent or dead without a drain |
| `leasebox_node_slots`, `leasebox_node_slots_busy` | node |
| `leasebox_node_claims` | node; jobs taken and not ended |
| `leasebox_node_claims_overdue` | node; those of them that are past their deadline |
| `leasebox_node_sessions` | node; sessions whose sandbox it has |
| `leasebox_node_paused` | node, reason |
| `leasebox_pool_ready` | node, profile; warm sandboxes |
| `leasebox_unbound_sessions` | idle, without a sandbox |
| `leasebox_webhooks_pending` | deliveries that are due, or wait for another attempt |
| `leasebox_webhook_late_seconds` | how late the first of them is |
| `leasebox_tenant_jobs` | tenant; state: queued, running |
| `leasebox_tenant_sessions`, `leasebox_tenant_parked_lines` | tenant |
| `leasebox_tenant_cpu_seconds_today` | tenant; of the jobs that ended on this UTC day |
| `leasebox_tenant_output_bytes_today` | tenant; likewise |

A tenant is a label where the operator's tenants file names it.
"""

import threading
import time
from collections.abc import Iterator, Sequence

import redis
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox.contract.scripts.census import Census, NodeCount, census
from leasebox_worker.telemetry.families import Row, gauge, gauges

log = structlog.get_logger()

DAY_S = 86400


class Exporter(Collector):
    """Asks Redis whenever Prometheus asks it.

    Args:
        silent_after_s: Without a heartbeat for so long a node counts as silent.
    """

    def __init__(self, runner: Runner, keys: Keys, *, silent_after_s: float) -> None:
        self._run = runner.run
        self._keys = keys
        self._silent_after_s = silent_after_s

    def collect(self) -> Iterator[Metric]:
        """What Prometheus gets; where Redis does not answer, that."""
        try:
            found = self._run(census(self._keys, day=int(time.time() // DAY_S)))
        except redis.RedisError as exc:
            log.warning("census_failed", reason=str(exc))
            yield gauge("leasebox_redis_up", "1: Redis answers.", 0)
            return
        yield gauge("leasebox_redis_up", "1: Redis answers.", 1)
        yield from figures(found, silent_after_s=self._silent_after_s)


def figures(found: Census, *, silent_after_s: float) -> Iterator[Metric]:
    """A census in Prometheus' terms."""
    yield from _of_redis(found)
    yield from _of_classes(found)
    yield from _of_nodes(found.nodes, silent_after_s)
    yield from _of_tenants(found)
    yield gauge("leasebox_unbound_sessions", "Idle sessions without a sandbox.", found.unbound)
    yield gauge("leasebox_webhooks_pending", "Deliveries that are not over.", found.webhooks)
    yield gauge("leasebox_webhook_late_seconds", "How late the first delivery is.", found.webhook_late_s)


def state_of(node: NodeCount, silent_after_s: float) -> str:
    """As `leasebox nodes` names it."""
    if node.is_dead:
        return "dead"
    if node.silent_s > silent_after_s:
        return "silent"
    return "draining" if node.is_draining else "up"


def _of_redis(found: Census) -> Iterator[Metric]:
    if not found.memory:
        return
    used, bound = (int(found.memory.get(name, 0)) for name in ("used_memory", "maxmemory"))
    bound = bound or int(found.memory.get("total_system_memory", 0))
    yield gauge("leasebox_redis_memory_used_bytes", "What Redis uses.", used)
    yield gauge("leasebox_redis_memory_max_bytes", "What it may use, or its machine has.", bound)


def _of_classes(found: Census) -> Iterator[Metric]:
    classes = found.classes
    yield gauges(
        "leasebox_queued_jobs", "Jobs that have not started.", ["class"], [((c.name,), c.queued) for c in classes]
    )
    yield gauges("leasebox_runnable_lines", "Lines that could run.", ["class"], [((c.name,), c.lines) for c in classes])
    yield gauges("leasebox_wakeups", "Messages not taken.", ["class"], [((c.name,), c.messages) for c in classes])
    waits: list[Row] = [((c.name,), c.wait_s) for c in classes]
    yield gauges("leasebox_longest_wait_seconds", "How long a line has waited for a node.", ["class"], waits)
    yield gauge("leasebox_deferred_lines", "Lines in back-off.", found.deferred)
    yield gauge("leasebox_parked_lines", "Lines that wait for their tenant's quota.", found.parked)
    ended = CounterMetricFamily("leasebox_jobs_ended", "Jobs that have ended.", labels=["class", "outcome"])
    for (name, outcome), count in sorted(found.ended.items()):
        ended.add_metric([name, outcome], count)
    for name in ("lost", "infra"):  # shown before the first, of which a rate would see nothing otherwise
        for line in classes:
            if (line.name, name) not in found.ended:
                ended.add_metric([line.name, name], 0)
    yield ended


def _of_nodes(nodes: Sequence[NodeCount], silent_after_s: float) -> Iterator[Metric]:
    states = {node.name: state_of(node, silent_after_s) for node in nodes}
    counts = [((s,), list(states.values()).count(s)) for s in ("up", "draining", "silent", "dead")]
    yield gauges("leasebox_nodes", "Nodes by state.", ["state"], counts)
    is_up = {name: state in ("up", "draining") for name, state in states.items()}
    yield _by_node("leasebox_node_up", "1: it sends heartbeats.", [(n, is_up[n.name]) for n in nodes])
    lost = [(n, not is_up[n.name] and not n.is_draining) for n in nodes]
    yield _by_node("leasebox_node_lost", "1: it fell silent, and was not drained.", lost)
    yield _by_node("leasebox_node_slots", "Jobs at the same time.", [(n, n.slots) for n in nodes])
    yield _by_node("leasebox_node_slots_busy", "Slots that are taken.", [(n, n.busy) for n in nodes])
    yield _by_node("leasebox_node_claims", "Jobs taken and not ended.", [(n, n.claims) for n in nodes])
    yield _by_node("leasebox_node_claims_overdue", "Of them, late.", [(n, n.overdue) for n in nodes])
    yield _by_node("leasebox_node_sessions", "Sessions with a sandbox here.", [(n, n.sessions) for n in nodes])
    paused: list[Row] = [((n.name, reason), 1) for n in nodes for reason in sorted(n.paused)]
    yield gauges("leasebox_node_paused", "Why it takes no shared work.", ["node", "reason"], paused)
    ready: list[Row] = [((n.name, profile), count) for n in nodes for profile, count in sorted(n.pools.items())]
    yield gauges("leasebox_pool_ready", "Warm sandboxes.", ["node", "profile"], ready)


def _of_tenants(found: Census) -> Iterator[Metric]:
    tenants = found.tenants
    jobs = [((t.name, state), n) for t in tenants for state, n in (("queued", t.queued), ("running", t.running))]
    yield gauges("leasebox_tenant_jobs", "Jobs that have not ended.", ["tenant", "state"], jobs)
    yield gauges("leasebox_tenant_sessions", "Live sessions.", ["tenant"], [((t.name,), t.sessions) for t in tenants])
    parked: list[Row] = [((t.name,), t.parked) for t in tenants]
    yield gauges("leasebox_tenant_parked_lines", "Lines that wait for its quota.", ["tenant"], parked)
    cpu: list[Row] = [((t.name,), t.cpu_s) for t in tenants]
    yield gauges("leasebox_tenant_cpu_seconds_today", "Of jobs that ended on this UTC day.", ["tenant"], cpu)
    sent: list[Row] = [((t.name,), t.output_bytes) for t in tenants]
    yield gauges("leasebox_tenant_output_bytes_today", "Of jobs that ended on this UTC day.", ["tenant"], sent)


def _by_node(name: str, about: str, values: Sequence[tuple[NodeCount, float]]) -> Metric:
    return gauges(name, about, ["node"], [((node.name,), value) for node, value in values])


def serve(exporter: Exporter, host: str, port: int) -> threading.Thread:
    """Answer Prometheus in the thread that is returned, until the process ends.

    Raises:
        ConfigError: The port cannot be had.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(exporter)
    try:
        _, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as exc:
        raise ConfigError(f"LEASEBOX_EXPORTER_PORT: port {port} of {host} cannot be had: {exc.strerror}") from exc
    return thread
