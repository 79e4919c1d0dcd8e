"""How do frames reach the host, however slowly it reads, and how are its frames read?"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from leasebox_guest import frames

PORTION_BYTES = 65536
_BY_REFERENCE_BYTES = 4096
_VECTOR = 64


class HostGoneError(Exception):
    """The host has closed its end."""


class Channel:
    """The two ends of the host, both non-blocking, with a queue of what it has not read yet."""

    def __init__(self, source: int, target: int) -> None:
        os.set_blocking(source, False)
        os.set_blocking(target, False)
        self.source = source
        self.target = target
        self.queued_bytes = 0
        self._queue: deque[bytes | memoryview] = deque()
        self._is_head_partial = False
        self._decoder = frames.Decoder()

    def receive(self) -> list[tuple[int, bytes]] | None:
        """The frames that are complete with what can be read now; None when nothing can be.

        Raises:
            HostGoneError: The end of the input.
            frames.FrameError: The input is no frames.
        """
        try:
            data = os.read(self.source, PORTION_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise HostGoneError
        return self._decoder.feed(data)

    @property
    def is_inside_frame(self) -> bool:
        """Whether the host has begun a frame and not ended it."""
        return self._decoder.is_inside_frame

    def forget_partial_input(self) -> None:
        """Drop the frame that has begun: whoever was sending it has gone."""
        self._decoder.reset()

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Queue a frame; `flush` writes it."""
        header = frames.header(kind, len(payload))
        if len(payload) < _BY_REFERENCE_BYTES:
            self._queue.append(header + payload)
        else:
            self._queue.append(header)
            self._queue.append(payload)
        self.queued_bytes += len(header) + len(payload)

    def send_json(self, kind: int, /, **fields: object) -> None:
        """Queue a frame whose payload is a JSON object."""
        frame = frames.pack_json(kind, fields)
        self._queue.append(frame)
        self.queued_bytes += len(frame)

    def flush(self) -> None:
        """Write as much of the queue as the host takes now.

        Raises:
            HostGoneError: It takes nothing any more.
        """
        while self._queue:
            vector = [self._queue[at] for at in range(min(_VECTOR, len(self._queue)))]
            try:
                written = os.writev(self.target, vector)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError) as exc:
                raise HostGoneError from exc
            self._advance(written, vector)

    def drop(self) -> None:
        """Empty the queue, but for the rest of a portion that is half written, which keeps the stream in step."""
        rest = [self._queue[0]] if self._is_head_partial and self._queue else []
        self._queue = deque(rest)
        self.queued_bytes = sum(len(part) for part in rest)

    def _advance(self, written: int, vector: Sequence[bytes | memoryview]) -> None:
        self.queued_bytes -= written
        for part in vector:
            self._queue.popleft()
            if written < len(part):
                self._queue.appendleft(memoryview(part)[written:])
                self._is_head_partial = True
                return
            written -= len(part)
            if not written:
                break
        self._is_head_partial = False
