"""What does the API's log say of a request? One line when it has been answered, and its ids in every line before."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

log = logging.getLogger("leasebox.server")
PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines; they say nothing of use."""
_MAX_NAME = 128


@contextmanager
def told(request_id: str) -> Iterator[None]:
    """While the block lasts every line carries the request's id, and whose it is as soon as that is known."""
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            yield
        finally:
            structlog.contextvars.unbind_contextvars("tenant")


def asked_by(tenant: str) -> None:
    """Whose request it is."""
    structlog.contextvars.bind_contextvars(tenant=tenant)


def route_of(scope: Any) -> str:
    """The pattern of the route that answered; a path would put ids, and what strangers try, into names."""
    return getattr(scope.get("route"), "path", "none")


def answered(scope: Any, status: int, took_s: float) -> None:
    """Tell of an answer; `notes` of the audit log know the job."""
    notes, path, route = scope["state"].get("notes", {}), scope.get("path_params", {}), route_of(scope)
    found = {
        "method": scope.get("method", "WEBSOCKET"),
        "route": route,
        "status": status,
        "took_s": round(took_s, 4),
        "job_id": notes.get("target") if route.endswith("/jobs") else path.get("job"),
        "session_id": notes.get("session") or path.get("name"),
    }
    level = logging.DEBUG if route in PROBES else logging.INFO
    log.log(level, "request_answered", extra={name: _short(value) for name, value in found.items() if value})


def _short(value: object) -> object:
    # Names from a path come before anything has checked them.
    return value[:_MAX_NAME] if isinstance(value, str) else value


def broke() -> None:
    """Tell of the exception that is being handled: a fault of ours."""
    log.exception("request_broke")
