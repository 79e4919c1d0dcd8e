"""A receiver of webhooks: a real HTTP server on an address of this machine that answers as a test wants it to."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Delivery:
    """One request that came in; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in, and what is answered.

    Attributes:
        statuses: Of the next answers; 204 when there are none left.
        more: Headers of each answer.
        gate: Each request waits for it.
    """

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)
    received: list[Delivery] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def url(self, host: str = "hooks.test", path: str = "/in", scheme: str = "http") -> str:
        """Its address under a name."""
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def ids(self) -> list[str]:
        """Of what came in."""
        return [one.headers["webhook-id"] for one in self.received]


@contextmanager
def receiving(certificate: Path | None = None) -> Iterator[Receiver]:
    """A receiver on 127.0.0.1, over TLS with a certificate; open to all requests until its `gate` is cleared."""
    made = Receiver()
    made.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.received.append(Delivery(self.path, {n.lower(): v for n, v in self.headers.items()}, body))
            made.gate.wait(60)
            try:
                self.send_response(made.statuses.pop(0) if made.statuses else 204)
                for name, value in made.more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True  # the sender has gone

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def finish_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
            try:
                request = request if context is None else context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)
            except OSError:
                pass  # a sender that trusts us not

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as listening:
        made.port = listening.server_address[1]
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield made
        finally:
            made.gate.set()
            listening.shutdown()
