"""How does a job's program reach the worker's egress proxy? 127.0.0.1:3128 is joined to the socket that it mounted.

Part of the agent's one loop: a process of its own would die with each job. It decides nothing; whether the socket is
there, and what may pass, is the worker's affair. Bounded: so many connections, one portion of each direction.
"""

from __future__ import annotations

import _socket  # `socket` makes enums of it all, at some ms
import os
from collections.abc import Callable

from leasebox_guest.loop import READABLE, WRITABLE, Loop

PORT = 3128
MOST_PAIRS = 32
_PORTION_BYTES = 16384
_BACKLOG = 64
_AGENTS_OWN_DESCRIPTORS = 24


class Forwarder:
    """Listens from the agent's start on, so that no job can take the port first."""

    def __init__(self, loop: Loop, target: str) -> None:
        """Listen.

        Args:
            loop: The agent's.
            target: Path of the worker's socket; without one a connection ends at once.
        """
        self._loop = loop
        self._target = target
        self._pairs: set[Pair] = set()
        self._most = max(1, min(MOST_PAIRS, (os.sysconf("SC_OPEN_MAX") - _AGENTS_OWN_DESCRIPTORS) // 2))
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        listener.bind(("127.0.0.1", PORT))
        listener.listen(_BACKLOG)
        self._listener = _number_of(listener)
        self._loop.watch(self._listener, self._accept)

    def _accept(self) -> None:
        listener = _socket.socket(fileno=self._listener)
        try:
            client, _ = listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left: again when a pair has ended
            self._loop.unwatch(self._listener)
            return
        finally:
            listener.detach()
        upstream = self._connect()
        if upstream is None:
            os.close(client)
            return
        os.set_blocking(client, False)
        self._pairs.add(Pair(self._loop, client, upstream, self._forget))
        if len(self._pairs) >= self._most:
            self._loop.unwatch(self._listener)

    def _connect(self) -> int | None:
        """The worker's end; None where no job with a network runs, or too many wait already."""
        try:
            upstream = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            upstream.setblocking(False)
            upstream.connect(self._target)
        except OSError:
            return None
        return _number_of(upstream)

    def _forget(self, pair: Pair) -> None:
        self._pairs.discard(pair)
        self._loop.watch(self._listener, self._accept)


def _number_of(made: _socket.socket) -> int:
    """Its descriptor alone: an object would close that number once more in every forked job."""
    made.setblocking(False)
    return made.detach()


class Pair:
    """Two sockets whose bytes go to one another; one portion a direction waits here, then its source is left alone."""

    __slots__ = ("_ended", "_ends", "_forget", "_is_told", "_loop", "_pending", "_watched")

    def __init__(self, loop: Loop, client: int, upstream: int, forget: Callable[[Pair], None]) -> None:
        self._loop = loop
        self._ends = (client, upstream)
        self._forget = forget
        self._pending = [b"", b""]  # for the end of that number
        self._ended = [False, False]  # that end has said its last byte
        self._is_told = False  # the worker knows that the client has
        self._watched = [0, 0]
        self._watch()

    def _turn(self) -> None:
        try:
            for side in (0, 1):
                self._write(side)
                self._read(side)
                self._write(1 - side)
            if self._ended[0] and not self._pending[1] and not self._is_told:
                self._is_told = True
                upstream = _socket.socket(fileno=self._ends[1])
                try:
                    upstream.shutdown(_socket.SHUT_WR)
                finally:
                    upstream.detach()
        except OSError:
            self._close()
            return
        if self._ended[1] and not self._pending[0]:
            self._close()
        else:
            self._watch()

    def _read(self, side: int) -> None:
        if self._ended[side] or self._pending[1 - side]:
            return
        try:
            self._pending[1 - side] = os.read(self._ends[side], _PORTION_BYTES)
        except BlockingIOError:
            return
        self._ended[side] = not self._pending[1 - side]

    def _write(self, side: int) -> None:
        if self._pending[side]:
            try:
                sent = os.write(self._ends[side], self._pending[side])
            except BlockingIOError:
                return
            self._pending[side] = self._pending[side][sent:]

    def _watch(self) -> None:
        """Only what can be acted on: the kernel reports an end's hang-up as long as it is watched at all."""
        for side, end in enumerate(self._ends):
            wanted = 0 if self._ended[side] or self._pending[1 - side] else READABLE
            if self._pending[side]:
                wanted |= WRITABLE
            if wanted != self._watched[side]:
                self._loop.unwatch(end)
                if wanted:
                    self._loop.watch(end, self._turn, wanted)
                self._watched[side] = wanted

    def _close(self) -> None:
        for end in self._ends:
            self._loop.unwatch(end)
            os.close(end)
        self._forget(self)
