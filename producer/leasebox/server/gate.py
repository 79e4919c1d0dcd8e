"""What does every request pass before its route? An id, the guard of an API without keys, a count, the audit log.

An API without keys listens on loopback, where any page that the user's browser shows could reach it: by a form, by a
WebSocket (CORS does not cover either), or under a name of its own that it points at 127.0.0.1. So it answers only to
loopback names, to no other origin's page and to no other host.
"""

import ipaddress
import re
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leasebox._ids import new_job_id
from leasebox.server import telling
from leasebox.server.meter import Meter
from leasebox.server.problems import answer, refusal
from leasebox.server.rates import Rates
from leasebox.server.trail import Trail

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def objection(headers: Headers, client: str | None, *, has_keys: bool, origins: Sequence[str]) -> str | None:
    """Why a request may not come in; None = it may.

    Args:
        client: Its address; None = a unix socket.
        origins: Those whose pages may ask.
    """
    if has_keys:
        return None
    if client is not None and not is_loopback(client):
        return "this API has no keys, so it answers this machine alone"
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    if host and not is_loopback(host):
        return f"this API has no keys, so it answers to loopback names alone, not to {host[:64]!r}"
    origin = headers.get("origin")
    if origin is None or origin in origins:
        return None
    named = urlsplit(origin)
    same = named.netloc.lower() == headers.get("host", "").lower()
    return None if same else "this API has no keys, so pages of other origins may not use it"


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, has_keys: bool, origins: Sequence[str], meter: Meter, trail: Trail) -> None:
        self._app = app
        self._has_keys = has_keys
        self._origins = tuple(origins)
        self._meter = meter
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, under its id."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else new_job_id()
        scope.setdefault("state", {})["request_id"] = request_id
        rates = scope["state"]["rates"] = Rates()
        began, status = time.perf_counter(), 0

        async def _send_named(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                told = MutableHeaders(scope=message)
                told["X-Request-Id"] = request_id
                rates.tell(told)
            await send(message)

        self._meter.begin()
        with telling.told(scope, headers, request_id):
            try:
                await self._enter(scope, headers, receive, _send_named)
            finally:
                self._meter.count(scope, status, time.perf_counter() - began)
                self._trail.answered(scope, status)
                telling.answered(scope, status, time.perf_counter() - began)

    async def _enter(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        client = scope["client"][0] if scope.get("client") else None
        why = objection(headers, client, has_keys=self._has_keys, origins=self._origins)
        if why is None:
            await self._app(scope, receive, send)
        else:
            hint = "set LEASEBOX_KEY_PEPPER and send a key, or ask from this machine"
            await answer(refusal(403, why, scope, hint=hint))(scope, receive, send)
