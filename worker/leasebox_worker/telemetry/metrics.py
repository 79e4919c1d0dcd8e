"""What a worker counts, for Prometheus: few names, base units, labels whose values are bounded.

| name | labels |
|---|---|
| `leasebox_jobs_total` | outcome |
| `leasebox_pool_requests_total` | profile; result: hit, miss |
| `leasebox_sandbox_start_seconds` | profile; purpose: job, pool (its `_count` is the number of starts) |
| `leasebox_sandbox_start_failures_total` | profile; purpose |
| `leasebox_sandbox_ends_total` | reason: `End` |
| `leasebox_drift_total` | kind: what one had and the other had not: sandbox (engine), session, pool (Redis) |
"""

from enum import StrEnum

from prometheus_client import Counter, Histogram, start_http_server

from leasebox.contract.errors import ConfigError

HOST = "127.0.0.1"


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


JOBS = Counter("leasebox_jobs", "Jobs that ended here.", ["outcome"])
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


def serve(port: int) -> None:
    """Offer the counters on loopback, until the process ends.

    Raises:
        ConfigError: The port cannot be had.
    """
    try:
        start_http_server(port, addr=HOST)
    except OSError as exc:
        raise ConfigError(f"LEASEBOX_METRICS_PORT: port {port} of {HOST} cannot be had: {exc.strerror}") from exc
