"""What do the API's log and traces say of a request? A line and a span when it is answered, and its ids in all before.

Both name the pattern of its route: a path would put ids, and what strangers try, into names.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog
from starlette.datastructures import Headers

from leasebox.contract.telemetry import traces

log = logging.getLogger("leasebox.server")
PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines; they say nothing of use."""
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")


@contextmanager
def told(scope: Any, headers: Headers, request_id: str) -> Iterator[None]:
    """While the block lasts every line carries the request's id and trace, and whose it is once that is known."""
    with (
        _span(scope, headers, request_id),
        structlog.contextvars.bound_contextvars(request_id=request_id, **traces.ids()),
    ):
        try:
            yield
        except Exception:
            log.exception("request_broke")
            raise
        finally:
            structlog.contextvars.unbind_contextvars("tenant")


def asked_by(tenant: str) -> None:
    """Whose request it is."""
    structlog.contextvars.bind_contextvars(tenant=tenant)
    traces.note({traces.TENANT: tenant})


def answered(scope: Any, status: int, took_s: float) -> None:
    """Tell of an answer; `notes` of the audit log know the job."""
    notes, path = scope["state"].get("notes", {}), scope.get("path_params", {})
    method, route = _method(scope), getattr(scope.get("route"), "path", "none")
    job = notes.get("target") if route.endswith("/jobs") else path.get("job")
    session = notes.get("session") or path.get("name")
    found = {"method": method, "route": route, "status": status, "took_s": round(took_s, 4)}
    # Names from a path come before anything has checked them.
    found |= {
        name: str(value)[: traces.MAX_TEXT] for name, value in (("job_id", job), ("session_id", session)) if value
    }
    log.log(logging.DEBUG if route in PROBES else logging.INFO, "request_answered", extra=found)
    http = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    traces.note({**http, traces.JOB: job, traces.SESSION: session}, name=f"{method} {route}")


def _span(scope: Any, headers: Headers, request_id: str) -> AbstractContextManager[object]:
    if scope["path"] in PROBES:
        return nullcontext()
    parent, values = traces.checked(headers.get("traceparent")), {traces.REQUEST: request_id}
    return traces.span(_method(scope), kind="server", parent=parent, values=values)


def _method(scope: Any) -> str:
    method = scope.get("method", "WEBSOCKET")
    return method if method in _METHODS or method == "WEBSOCKET" else "other"
