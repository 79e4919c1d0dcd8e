"""What a worker counts, for Prometheus: few names, base units, labels whose values are bounded.

All of it is in this process's memory; none costs a trip to Redis. What stands in Redis is told by `exporter`, and what
a worker holds just now by `engine.gauges`.

| name | labels |
|---|---|
| `leasebox_jobs_total` | outcome; of the jobs that ended here |
| `leasebox_job_seconds` | phase: queued, lease (until it had its sandbox), start, run, settle |
| `leasebox_job_cpu_seconds_total` | profile |
| `leasebox_job_memory_peak_bytes` | profile |
| `leasebox_job_output_bytes_total` | profile |
| `leasebox_job_network_bytes_total` | direction: in, out |
| `leasebox_attempt_failures_total` | reason: `Failed`; faults of the machinery, never of a program |
| `leasebox_pool_requests_total` | profile; result: hit, miss |
| `leasebox_sandbox_start_seconds` | profile; purpose: job, pool (its `_count` is the number of starts) |
| `leasebox_sandbox_start_failures_total` | profile; purpose |
| `leasebox_sandbox_ends_total` | reason: `End` |
| `leasebox_drift_total` | kind: what one had and the other had not: sandbox (engine), session, pool (Redis) |
| `leasebox_webhook_attempts_total` | result: delivered, failed (comes again), given_up |
| `leasebox_protection_missing` | name: a protection that this host does not offer, as doctor names it |
"""

from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from leasebox.contract.errors import ConfigError
from leasebox.contract.result import Outcome, Result

# When each series began says nothing that its rate does not, and would double their number.
disable_created_metrics()  # type: ignore[no-untyped-call]


class End(StrEnum):
    """Why a sandbox ended; the reasons of a session's end, and those that only a sandbox has."""

    IDLE = "idle"
    MAX_AGE = "max_age"
    CLOSED = "closed"
    EVICTED = "evicted"
    LOST = "lost"
    OOM = "oom"
    """Its memory limit ended more of it than the job: it could not be used any more."""
    DRAINED = "drained"
    FAILED = "failed"
    USED = "used"
    """A job without a session has ended, and its sandbox with it."""
    SURPLUS = "surplus"
    """Of the warm pool: not wanted any more, or in the way of a job."""


class Failed(StrEnum):
    """Why an attempt came to nothing."""

    LEASE_LOST = "lease_lost"
    """Redis gave the job to another holder: this node was silent for too long."""
    SANDBOX = "sandbox"
    """It did not start, or died."""
    REDIS = "redis"
    INTERNAL = "internal"
    """A fault of ours; the log has its traceback."""


JOBS = Counter("leasebox_jobs", "Jobs that ended here.", ["outcome"])
SECONDS = Histogram(
    "leasebox_job_seconds",
    "Where the time of a job went, by phase.",
    ["phase"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
CPU = Counter("leasebox_job_cpu_seconds", "Processor time of the programs.", ["profile"])
MEMORY_PEAK = Histogram(
    "leasebox_job_memory_peak_bytes",
    "The most memory at once that a job's sandbox had.",
    ["profile"],
    buckets=[float(1 << power) for power in range(24, 34)],
)
OUTPUT = Counter("leasebox_job_output_bytes", "What programs wrote to their outputs.", ["profile"])
NETWORK = Counter("leasebox_job_network_bytes", "What went through the proxy.", ["direction"])
ATTEMPTS = Counter("leasebox_attempt_failures", "Attempts that the machinery failed.", ["reason"])
POOL = Counter("leasebox_pool_requests", "Sandboxes that jobs needed, from the pool or not.", ["profile", "result"])
STARTS = Histogram(
    "leasebox_sandbox_start_seconds",
    "From the order to the agent's first word.",
    ["profile", "purpose"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
FAILURES = Counter("leasebox_sandbox_start_failures", "Sandboxes that did not start.", ["profile", "purpose"])
ENDS = Counter("leasebox_sandbox_ends", "Sandboxes that ended.", ["reason"])
DRIFT = Counter("leasebox_drift", "Differences found between Redis and what is really there.", ["kind"])
WEBHOOKS = Counter("leasebox_webhook_attempts", "Attempts to tell receivers.", ["result"])
MISSING = Gauge("leasebox_protection_missing", "1: this host does without it.", ["name"])

_PHASES = {phase: SECONDS.labels(phase) for phase in ("queued", "lease", "start", "run", "settle")}
_DIRECTIONS = {direction: NETWORK.labels(direction) for direction in ("in", "out")}


def begin() -> None:
    """Show what has not happened yet as 0: a rate sees a first failure only where it has seen none before."""
    for outcome in Outcome:
        JOBS.labels(outcome)
    for failed in Failed:
        ATTEMPTS.labels(failed)
    for kind in ("sandbox", "session", "pool"):
        DRIFT.labels(kind)
    for result in ("delivered", "failed", "given_up"):
        WEBHOOKS.labels(result)


def note_job(result: Result, profile: str) -> None:
    """Count a job that has ended here; one that never started has no phases but the first."""
    JOBS.labels(result.outcome).inc()
    usage = result.usage
    _PHASES["queued"].observe(usage.queued_s)
    if result.outcome is Outcome.REJECTED or not result.attempt:
        return
    _PHASES["lease"].observe(usage.lease_s)
    _PHASES["start"].observe(usage.start_s)
    _PHASES["run"].observe(usage.run_s)
    _PHASES["settle"].observe(usage.settle_s)
    CPU.labels(profile).inc(usage.cpu_s)
    OUTPUT.labels(profile).inc(usage.output_bytes)
    if usage.memory_peak_bytes:
        MEMORY_PEAK.labels(profile).observe(usage.memory_peak_bytes)
    if usage.network_in_bytes or usage.network_out_bytes:
        _DIRECTIONS["in"].inc(usage.network_in_bytes)
        _DIRECTIONS["out"].inc(usage.network_out_bytes)


def serve(host: str, port: int) -> None:
    """Offer the counters to Prometheus, until the process ends.

    Raises:
        ConfigError: The port cannot be had.
    """
    begin()
    try:
        start_http_server(port, addr=host)
    except OSError as exc:
        raise ConfigError(f"LEASEBOX_METRICS_PORT: port {port} of {host} cannot be had: {exc.strerror}") from exc
