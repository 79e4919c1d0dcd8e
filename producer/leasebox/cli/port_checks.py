"""Could the API listen here, or does it already?"""

import http.client
import json
import socket
from collections.abc import Iterator

from leasebox.cli.check import Check
from leasebox.config import load_api
from leasebox.contract.errors import ConfigError

_WITHIN_S = 2.0


def port_checks() -> Iterator[Check]:
    """Of the port that `leasebox up` and the server take; a wrong setting of theirs is a failed check."""
    try:
        settings = load_api()
    except ConfigError as exc:
        yield Check("api settings", False, False, exc.detail, exc.hint)
        return
    yield api_port(settings.api_host, settings.api_port)


def api_port(host: str, port: int) -> Check:
    """Free, or taken by an API of ours."""
    place = f"{host} port {port}"
    hint = f"ss -ltnp 'sport = :{port}' names who listens; LEASEBOX_API_PORT is another port"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(found[0][0]) as probe:
            # As a server binds: a port that an ended server has left is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[0][4])
    except OSError as exc:
        version = _version_of(host, port)
        if version is not None:
            return Check("api port", True, False, f"{place}: the API of Leasebox {version} listens")
        return Check("api port", False, False, f"{place}: {exc.strerror or exc}", hint)
    return Check("api port", True, False, f"{place} is free")


def _version_of(host: str, port: int) -> str | None:
    """What an API of ours says of itself; None: none is there."""
    there = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    asked = http.client.HTTPConnection(there, port, timeout=_WITHIN_S)
    try:
        asked.request("GET", "/version")
        told = json.loads(asked.getresponse().read(4096))
        return str(told["version"]) if "contract" in told else None
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return None
    finally:
        asked.close()
