"""Could the metrics of a worker be offered here, or are they already?"""

import http.client
import socket

from leasebox_worker.drivers.base import Check

HOST = "127.0.0.1"
_WITHIN_S = 2.0


def metrics_port(port: int | None) -> list[Check]:
    """Of LEASEBOX_METRICS_PORT; nothing where none is set."""
    if port is None:
        return []
    with socket.socket() as probe:
        # As a server binds: a port that an ended worker has left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return [Check("metrics-port", ok=True, required=False, detail=f"port {port} is free")]
        except OSError as exc:
            why = exc.strerror or str(exc)
    if _has_ours(port):
        return [Check("metrics-port", ok=True, required=False, detail=f"port {port}: the metrics of a worker")]
    hint = f"ss -ltnp 'sport = :{port}' names who listens; a worker does not start while another has the port"
    return [Check("metrics-port", ok=False, required=True, detail=f"port {port}: {why}", hint=hint)]


def _has_ours(port: int) -> bool:
    asked = http.client.HTTPConnection(HOST, port, timeout=_WITHIN_S)
    try:
        asked.request("GET", "/metrics")
        return b"leasebox_" in asked.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()
