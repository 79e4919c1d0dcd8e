"""What would an OpenTelemetry collector be sent? Each body of OTLP over HTTP, kept as a file.

collector.py PORT FOLDER      standard library alone: it runs in a container, `Topology.spans` reads the files
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

FOLDER = Path(sys.argv[2])
_numbers = count()


class Handler(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def do_POST(self) -> None:
        """Keep the body; its file has its name when it is whole."""
        body = self.rfile.read(int(self.headers["content-length"]))
        part = FOLDER / f"{next(_numbers)}.part"
        part.write_bytes(body)
        part.rename(part.with_suffix(".otlp"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
