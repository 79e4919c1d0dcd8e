"""How do the host and the agent talk?

`u32 big-endian length of (type + payload), u8 type, payload`; control payloads are JSON objects, data payloads are raw.

Rules that the table of `Kind` cannot say:

* READY comes once by itself at the agent's start, and as the answer to RESYNC; HELLO has no answer.
* A host that attaches again may land inside a frame: it sends RESYNC with a random `token`, which the answering READY
  repeats as its first field, and looks for that with `find_ready`. A host that died inside a frame of its own leaves
  the agent waiting for the rest: no READY then, until the host has been silent for the dead-man time.
* STDIN has a window of `STDIN_WINDOW` bytes which opens anew with each EXEC; CREDIT of that job adds to it. STDIN that
  arrives after the job's end is dropped. An empty STDIN is the end of the program's input.
* DISPLAY carries a part of a MIME bundle's JSON behind one byte: 1 = more of it follows, 0 = its end. What is too large
  for the bundle goes before it, one content behind the other: 3 = more of it follows, 2 = its end; the bundle has the
  list of their MIME types under `APART`. `DisplayMeter` has the bounds. What an interpreter says on its own channel to
  the agent has the same form and kinds.
"""

from __future__ import annotations

import struct
from enum import IntEnum

MAX_FRAME_BYTES = 1 << 20
"""Most bytes that type and payload have together."""
STDIN_WINDOW = 128 << 10
"""Bytes of STDIN that may be on their way without a CREDIT."""

_HEADER = struct.Struct(">IB")
_LENGTH = struct.Struct(">I")


class Kind(IntEnum):
    """The types of frames: below 64 from the host, above from the agent."""

    HELLO = 1
    EXEC = 2
    CODE = 3
    STDIN = 4
    CANCEL = 5
    PING = 6
    HOLD = 7
    RESUME = 8
    RESYNC = 9
    BYE = 10
    READY = 65
    STARTED = 66
    STDOUT = 67
    STDERR = 68
    DISPLAY = 69
    INPUT = 70
    CREDIT = 71
    PONG = 72
    HELD = 73
    EXITED = 74
    REFUSED = 75


APART = "leasebox/apart"
"""Under this name a bundle has the MIME types of what went before it, in order."""
MAX_BUNDLE_BYTES = 8 << 20
"""Most bytes of one MIME bundle's JSON."""
MAX_CELL_BYTES = 32 << 20
"""Most bytes of all bundles and prompts of one cell."""
_LEAST_CHARGE = 1024
MAX_APART_BYTES = 32 << 20
"""Most bytes of one content that goes before its bundle."""
MAX_CELL_APART_BYTES = 64 << 20
"""Most bytes of all such contents of one cell."""
_LEAST_APART_CHARGE = 1 << 20


class FrameError(ValueError):
    """The bytes are no frames: the length is 0 or above `MAX_FRAME_BYTES`. The stream cannot be read any further."""


def header(kind: int, size_bytes: int) -> bytes:
    """The five bytes before a payload of `size_bytes`.

    Raises:
        FrameError: The payload does not fit into one frame.
    """
    if size_bytes >= MAX_FRAME_BYTES:
        raise FrameError(f"payload of {size_bytes} bytes: a frame holds {MAX_FRAME_BYTES - 1}")
    return _HEADER.pack(size_bytes + 1, kind)


def pack(kind: int, payload: bytes = b"") -> bytes:
    """One whole frame.

    Raises:
        FrameError: The payload does not fit into one frame.
    """
    return header(kind, len(payload)) + payload


def pack_json(kind: int, obj: object) -> bytes:
    """One whole frame whose payload is `obj` as JSON."""
    import json

    return pack(kind, json.dumps(obj).encode())


def find_ready(data: bytes, token: str) -> int:
    """Offset at which the READY frame that repeats `token` begins, or -1: all before it belongs to the former host."""
    at = data.find(b'{"token": "%s"' % token.encode())
    return at - _HEADER.size if at >= _HEADER.size else -1


class Decoder:
    """Turns bytes in any portions into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_inside_frame(self) -> bool:
        """Whether a frame has begun that is not complete yet."""
        return bool(self._buffer)

    def reset(self) -> None:
        """Forget the frame that has begun."""
        self._buffer.clear()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take `data`; return the frames that are now complete, as (type, payload). Unknown types are returned too.

        Raises:
            FrameError: A length of 0 or above `MAX_FRAME_BYTES`, as soon as the length itself is there.
        """
        self._buffer += data
        found: list[tuple[int, bytes]] = []
        at = 0
        with memoryview(self._buffer) as view:
            while len(view) - at >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, at)
                if not 1 <= length <= MAX_FRAME_BYTES:
                    raise FrameError(f"frame of {length} bytes")
                end = at + _LENGTH.size + length
                if end > len(view):
                    break
                found.append((view[at + _LENGTH.size], bytes(view[at + _HEADER.size : end])))
                at = end
        del self._buffer[:at]
        return found


class DisplayMeter:
    """Counts what one cell shows; a bundle or prompt counts at least 1 KiB, so that their number is bounded too.

    Args:
        is_apart: It counts what goes before the bundles: that has bounds of its own, and counts at least 1 MiB each.
    """

    __slots__ = ("_bundle_bytes", "_least", "_most", "_most_in_all", "_total_bytes")

    def __init__(self, *, is_apart: bool = False) -> None:
        self._bundle_bytes = 0
        self._total_bytes = 0
        self._most, self._most_in_all, self._least = MAX_BUNDLE_BYTES, MAX_CELL_BYTES, _LEAST_CHARGE
        if is_apart:
            self._most, self._most_in_all, self._least = MAX_APART_BYTES, MAX_CELL_APART_BYTES, _LEAST_APART_CHARGE

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more bundle of this size may be shown."""
        return size_bytes <= self._most and self._total_bytes + max(size_bytes, self._least) <= self._most_in_all

    def add(self, size_bytes: int, *, is_last: bool = True) -> None:
        """Count a part of a bundle, or a prompt.

        Raises:
            FrameError: The bundle or the cell is beyond its bound.
        """
        self._bundle_bytes += size_bytes
        if not self.has_room(self._bundle_bytes):
            raise FrameError("a cell shows more than it may")
        if is_last:
            self._total_bytes += max(self._bundle_bytes, self._least)
            self._bundle_bytes = 0
