"""How does one get a two-way socket to a container's PID 1? A hand-written HTTP upgrade, half a page.

The SDK's `attach_socket` reads through a buffer and hands out the raw socket below it: bytes that a running container
already sent stay in that buffer, and the engine's framing is lost from then on.

Source: Docker Engine API 1.41, "Attach to a container", hijacking.
"""

import socket
from urllib.parse import urlsplit

from leasebox.contract.errors import ConfigError, SandboxDied, StartFailed
from leasebox_worker.drivers.base import EngineDown
from leasebox_worker.drivers.channels import AttachChannel

_CONNECT_TIMEOUT_S = 20.0
_MAX_HEAD_BYTES = 65536


def attach(docker_host: str, api_version: str, container: str) -> AttachChannel:
    """A channel to a created or running container.

    Raises:
        SandboxDied: The engine knows no such container.
        EngineDown: The engine did not answer.
        StartFailed: The engine refused.
    """
    connection = _connect(docker_host)
    try:
        connection.sendall(_request(api_version, container))
        head, first = _response(connection)
    except OSError as exc:
        connection.close()
        raise EngineDown(f"the engine did not answer the attach of {container}: {exc}") from exc
    status = head.split(" ", 2)[1] if " " in head else ""
    if status not in ("101", "200"):
        connection.close()
        if status == "404":
            raise SandboxDied(f"container {container} is gone")
        raise StartFailed(f"the engine refused to attach {container}: {head.splitlines()[0] if head else 'no answer'}")
    return AttachChannel(connection, first)


def _connect(docker_host: str) -> socket.socket:
    url = urlsplit(docker_host)
    try:
        if url.scheme in ("unix", "http+unix"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_CONNECT_TIMEOUT_S)
            connection.connect(url.path)
            return connection
        if url.scheme in ("tcp", "http") and url.hostname:
            return socket.create_connection((url.hostname, url.port or 2375), _CONNECT_TIMEOUT_S)
    except OSError as exc:
        raise EngineDown(f"no engine at {docker_host}: {exc}", hint="is dockerd running?") from exc
    raise ConfigError(f"engine address {docker_host!r} is not supported", hint="use unix:///path or tcp://host:port")


def _request(api_version: str, container: str) -> bytes:
    path = f"/v{api_version}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: docker",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Content-Length: 0",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def _response(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MAX_HEAD_BYTES:
        more = connection.recv(4096)
        if not more:
            break
        data += more
    head, _, first = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), first
