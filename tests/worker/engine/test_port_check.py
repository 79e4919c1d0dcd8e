"""Does doctor tell a free metrics port from a worker's, and from somebody else's?"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from leasebox_worker.engine.port_check import HOST, metrics_port


class Metrics(BaseHTTPRequestHandler):
    """Answers as a worker does, or as some other program."""

    text = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("text", "is_ours"), [(b"leasebox_drift_total 0", True), (b"node_load1 0", False)])
def test_a_taken_port_is_fine_only_where_a_worker_has_it(text: bytes, is_ours: bool) -> None:
    server = HTTPServer((HOST, 0), type("Answers", (Metrics,), {"text": text}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        (check,) = metrics_port(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert check.ok is is_ours
    assert check.required is not is_ours


def test_a_free_port_is_fine_and_none_is_not_looked_at() -> None:
    with socket.create_server((HOST, 0)) as listening:
        port = listening.getsockname()[1]

    assert [check.ok for check in metrics_port(port)] == [True]
    assert metrics_port(None) == []
