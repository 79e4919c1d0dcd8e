"""What do the services that watch us get? Local ones read what is really sent: OTLP over HTTP, Sentry's envelopes."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body in clear; Sentry's SDK takes brotli where it is installed."""
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "br":
        import brotli

        return bytes(brotli.decompress(body))
    assert not encoding, encoding
    return body


@dataclass
class Receiver:
    """Keeps each body that it was sent, in clear."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """On loopback, until the end of the block."""
    made = Receiver()

    class _Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.bodies.append(unpacked(body, self.headers.get("content-encoding", "")))
            made.paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass(frozen=True)
class Span:
    """A span as it arrived."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    kind: int
    began_ns: int
    ended_ns: int
    status: int
    attributes: dict[str, Any]
    events: int


def spans(receiver: Receiver) -> list[Span]:
    """All that have come so far."""
    found = []
    for body in list(receiver.bodies):
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            named = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                found += [_span(each, str(named.get("service.name"))) for each in scope.spans]
    return found


def _span(each: Any, service: str) -> Span:
    return Span(
        each.name,
        service,
        each.trace_id.hex(),
        each.span_id.hex(),
        each.parent_span_id.hex(),
        each.kind,
        each.start_time_unix_nano,
        each.end_time_unix_nano,
        each.status.code,
        _values(each.attributes),
        len(each.events),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in attributes}


def events(receiver: Receiver) -> list[dict[str, Any]]:
    """The events of all envelopes; source: develop.sentry.dev, "Envelopes"."""
    found = []
    for body in list(receiver.bodies):
        lines = body.split(b"\n")
        for place, line in enumerate(lines[1:], 1):
            if line.startswith((b'{"type":"event"', b'{"type": "event"')):
                found.append(json.loads(lines[place + 1]))
    return found
