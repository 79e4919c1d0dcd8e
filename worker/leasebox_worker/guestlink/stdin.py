"""How much standard input may be on its way to the agent, and what goes next?"""

import threading
from collections.abc import Callable, Iterable, Iterator

from leasebox_guest.frames import STDIN_WINDOW, Kind, pack

CHUNK = 64 << 10
POLL_S = 1.0
"""Whoever waits for room looks so often whether its job still runs, also if nobody wakes it."""
_CLOSED = -(1 << 40)


class Stdin:
    """The input of one job at a time, within the window that the agent opens with each job and widens by credit.

    What is there before the start is a source of chunks, which the link sends as there is room; what comes while the
    job runs waits for room in the thread that brings it.
    """

    def __init__(self) -> None:
        self._source: Iterator[bytes] | None = iter(())
        self._window = STDIN_WINDOW
        self._room = threading.Condition()

    def begin(self, source: Iterable[bytes] | None) -> None:
        """A job starts; None: its input comes while it runs."""
        with self._room:
            self._source = None if source is None else iter(source)
            self._window = STDIN_WINDOW

    def credit(self, size_bytes: int) -> None:
        """The agent took so much."""
        with self._room:
            self._window += size_bytes
            self._room.notify_all()

    def wake(self) -> None:
        """Let whoever waits for room look whether there is still a job."""
        with self._room:
            self._room.notify_all()

    def reserve(self, size_bytes: int, goes_on: Callable[[], bool]) -> bool:
        """Wait for room for a live chunk, and take it; False once `goes_on` is false."""
        with self._room:
            while goes_on() and self._window < size_bytes:
                self._room.wait(POLL_S)
            if not goes_on():
                return False
            self._window -= size_bytes
        return True

    def next_frames(self) -> bytes:
        """Frames for as much of the source as the window takes; the empty frame at its end."""
        parts = []
        while self._source is not None and self._window >= CHUNK:
            chunk = next(self._source, None)
            if chunk is None:
                parts.append(pack(Kind.STDIN, b""))
                self._source = iter(())
                self._window = _CLOSED  # nothing may follow
                break
            for at in range(0, len(chunk), CHUNK):
                parts.append(pack(Kind.STDIN, chunk[at : at + CHUNK]))
            self._window -= len(chunk)
        return b"".join(parts)


def chunked(data: bytes) -> Iterator[bytes]:
    """Cut into pieces that one STDIN frame carries."""
    for at in range(0, len(data), CHUNK):
        yield data[at : at + CHUNK]
