"""How does the proxy ask for a name's addresses, and how does it dial one? The real ways, replaceable by tests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from leasebox_worker.egress.refusal import Refusal, RefusedError
from leasebox_worker.resolver import Resolver

STREAM_BYTES = 16 << 10
"""Of each direction of a connection that is kept in memory, twice (reader and writer)."""
_NAMES = 256
"""Asked for at once by the whole worker: some for each of its connections, as one that was given up is asked for on."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def resolver() -> Callable[[str], Awaitable[list[str]]]:
    """Asks for the addresses of a name by the host's resolver; raises OSError where there are none."""
    ours = Resolver(_NAMES)

    async def _resolve(name: str) -> list[str]:
        # The dot at the end keeps the search list of resolv.conf out: `a.example.org.corp.internal` was not asked for.
        return await ours.resolve(f"{name}.")

    return _resolve


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

    resolve: Callable[[str], Awaitable[list[str]]] = field(default_factory=resolver)
    dial: Callable[[str, int], Awaitable[Streams]] = dial
