"""How does one job get out of its sandbox? A socket that is there while the job runs, and all that came through it."""

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from leasebox_worker.egress.caps import Caps
from leasebox_worker.egress.refusal import Refusal, RefusedError, answer
from leasebox_worker.egress.tunnel import Tunnel
from leasebox_worker.egress.ways import STREAM_BYTES, Ways
from leasebox_worker.telemetry.audit import AuditLog
from leasebox_worker.token_bucket import TokenBucket

log = structlog.get_logger()

SOCKET = "p.sock"
_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Visit:
    """Who goes out, and where to: what the log says of a refusal."""

    job: str
    session: str | None
    rules: tuple[str, ...]
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through a door; bytes as the guest sees them, `bytes_in` from the internet."""

    bytes_in: int = 0
    bytes_out: int = 0
    refused: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        """Both together."""
        return Traffic(self.bytes_in + other.bytes_in, self.bytes_out + other.bytes_out, self.refused + other.refused)


class Room:
    """How many connections the whole worker may still have: each costs it two descriptors."""

    def __init__(self, places: int) -> None:
        self.places = places


def listen(folder: Path) -> socket.socket:
    """A socket in `folder` that every uid may connect to.

    Raises:
        OSError: There is no such folder.
    """
    # By the descriptor, since a socket's path has 107 bytes at most (unix(7)) and a state folder may be deep.
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = Path(f"/proc/self/fd/{descriptor}/{SOCKET}")
        path.unlink(missing_ok=True)  # of a worker that was killed
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind(str(path))
            path.chmod(0o666)
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
    finally:
        os.close(descriptor)
    return made


class Door:
    """Accepts the connections of one job; lives on the proxy's loop."""

    def __init__(
        self, listener: socket.socket, visit: Visit, caps: Caps, ways: Ways, room: Room, audit: AuditLog | None
    ) -> None:
        """Accepts nothing yet; `serve` does."""
        loop = asyncio.get_running_loop()
        self.rules = visit.rules
        self.caps = caps
        self._visit = visit
        self._ways = ways
        self._room = room
        self._audit = audit
        self._listener = listener
        self._bytes = TokenBucket(caps.bytes_per_s, caps.bytes_per_s, loop.time())
        self._arrivals = TokenBucket(caps.connections_per_s, caps.connections, loop.time())
        self._tunnels: set[asyncio.Task[None]] = set()
        self._in = self._out = self._refused = 0
        self._is_used_up = False
        self._accepting = loop.create_task(self._accept())

    async def close(self) -> Traffic:
        """Let nobody in, cut who is inside; what went through."""
        tasks = [self._accepting, *self._tunnels]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()
        if (unlogged := self._refused - self.caps.logged_refusals) > 0:
            log.warning("egress_refusals_not_logged", count=unlogged, **self._who())
        if (untold := self._refused - self.caps.audited_refusals) > 0:
            self._tell("", "refused", count=untold)
        return self.traffic

    @property
    def traffic(self) -> Traffic:
        """What has gone through until now; may be read from any thread."""
        return Traffic(self._in, self._out, self._refused)

    def spend(self, *, bytes_in: int = 0, bytes_out: int = 0) -> float:
        """See `tunnel.Account`."""
        if self._in + self._out + bytes_in + bytes_out > self.caps.total_bytes:
            self._is_used_up = True
            raise RefusedError(Refusal.BYTES)
        self._in += bytes_in
        self._out += bytes_out
        return self._bytes.take(bytes_in + bytes_out, asyncio.get_running_loop().time())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as exc:  # no descriptor is left: the guest waits as we do
                log.error("egress_cannot_accept", reason=str(exc), **self._who())
                await asyncio.sleep(1.0)
                continue
            if self._is_used_up:
                self._turn_away(connection, Refusal.BYTES)
            elif len(self._tunnels) >= self.caps.connections or self._room.places <= 0:
                self._turn_away(connection, Refusal.BUSY)
            else:
                task = loop.create_task(self._let_in(connection))
                self._tunnels.add(task)
                task.add_done_callback(self._tunnels.discard)
            # A flood waits in the kernel's backlog rather than in our memory and time.
            await asyncio.sleep(self._arrivals.take(1, loop.time()))

    async def _let_in(self, connection: socket.socket) -> None:
        self._room.places -= 1
        try:
            guest = await asyncio.open_unix_connection(sock=connection, limit=STREAM_BYTES)
            await Tunnel(guest, self, self._ways).run()
        finally:
            self._room.places += 1

    def _turn_away(self, connection: socket.socket, refusal: Refusal) -> None:
        self.refuse(RefusedError(refusal))
        with suppress(OSError):
            connection.send(answer(refusal))
        connection.close()

    def refuse(self, error: RefusedError) -> None:
        """See `tunnel.Account`."""
        self._refused += 1
        if self._refused <= self.caps.logged_refusals:
            log.warning("egress_refused", name=ascii(error.name)[1:-1], reason=str(error.refusal), **self._who())
        if self._refused <= self.caps.audited_refusals:
            self._tell(error.name, str(error.refusal))

    def _tell(self, host: str, result: str, **more: int) -> None:
        visit = self._visit
        if self._audit is not None:
            told = {"job": visit.job, "session": visit.session, **more}
            self._audit.note("network.connect", host, result, tenant=visit.tenant, **told)

    def _who(self) -> dict[str, str | None]:
        return {"job_id": self._visit.job, "session_id": self._visit.session}
