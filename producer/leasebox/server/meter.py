"""What does the API count for Prometheus? Requests, their time, and open streams.

| name | labels |
|---|---|
| `leasebox_http_requests_total` | method, route (its pattern), status |
| `leasebox_http_request_seconds` | method, route |
| `leasebox_http_requests_open` | requests and WebSockets that are not answered to their end |
| `leasebox_http_watchers` | requests that follow a job |
| `leasebox_api_info` | version; always 1 |

And what the kernel counts of this process, `process_...`.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from leasebox import __version__

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600)
# When each series began says nothing that its rate does not, and would double their number.
disable_created_metrics()  # type: ignore[no-untyped-call]
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")


class Meter:
    """The counters of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "leasebox_http_requests", "Answered requests.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "leasebox_http_request_seconds",
            "From a request's head to the end of its answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._open = Gauge("leasebox_http_requests_open", "Requests under way.", registry=self._registry)
        info = Gauge("leasebox_api_info", "What answers.", ["version"], registry=self._registry)
        info.labels(__version__).set(1)
        ProcessCollector(registry=self._registry)
        self._watchers = Gauge("leasebox_http_watchers", "Requests that follow a job.", registry=self._registry)

    def watched_by(self, count: Callable[[], int]) -> None:
        """Where the number of watchers is known."""
        self._watchers.set_function(count)

    def begin(self) -> None:
        """A request comes in; `count` ends it."""
        self._open.inc()

    def count(self, scope: Any, status: int, seconds: float) -> None:
        """Note a request; by its route's pattern, so that no id becomes a label."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope.get("method", "WEBSOCKET")
        method = method if method in (*_METHODS, "WEBSOCKET") else "other"
        self._open.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
