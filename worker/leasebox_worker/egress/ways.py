"""How does the proxy ask for a name's addresses, and how does it dial one? The real ways, replaceable by tests."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from leasebox_worker.egress.refusal import Refusal, RefusedError

STREAM_BYTES = 16 << 10
"""Of each direction of a connection that is kept in memory, twice (reader and writer)."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def resolve(name: str) -> list[str]:
    """The addresses of a name by the host's resolver.

    Raises:
        OSError: There are none.
    """
    # The dot at the end keeps the search list of resolv.conf out: `a.example.org.corp.internal` was not asked for.
    found = await asyncio.get_running_loop().getaddrinfo(f"{name}.", None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def dial(address: str, port: int) -> Streams:
    """Connect to an address.

    Raises:
        OSError: It does not answer.
        RefusedError: It is one of this host's own, by which its services could be reached.
    """
    reader, writer = await asyncio.open_connection(address, port, limit=STREAM_BYTES)
    if writer.get_extra_info("sockname")[0] == writer.get_extra_info("peername")[0]:
        writer.transport.abort()
        raise RefusedError(Refusal.ADDRESS)
    return reader, writer


@dataclass(frozen=True, slots=True)
class Ways:
    """Both; no setting names them, tests alone give others."""

    resolve: Callable[[str], Awaitable[list[str]]] = resolve
    dial: Callable[[str, int], Awaitable[Streams]] = dial
