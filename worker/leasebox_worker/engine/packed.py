"""What comes when the agent sends many files one behind the other? Each as it comes, into a sink of its own."""

import json
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.errors import GuestProtocolError

MAX_HEADER_BYTES = 64 << 10
_LENGTH_BYTES = 4


class Sink(Protocol):
    """Takes one file."""

    def add(self, data: bytes) -> None:
        """Take its next bytes."""


S = TypeVar("S", bound=Sink)


class PackedReader(Generic[S]):
    """Takes `u32 header length, JSON {"path", "size"}, size raw bytes` again and again, in any portions.

    Args:
        expected: The paths that were asked for; any other breaks the rules.
        begin: Makes the sink of the next file.
        end: Called with a file's path and sink when all of it is there.
    """

    def __init__(self, expected: Collection[str], begin: Callable[[], S], end: Callable[[str, S], object]) -> None:
        self._expected = set(expected)
        self._begin = begin
        self._end = end
        self._head = bytearray()
        self._path = ""
        self._left = 0
        self._sink: S | None = None

    @property
    def open_sink(self) -> S | None:
        """Of a file that has begun and not ended."""
        return self._sink

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream.

        Raises:
            GuestProtocolError: They are not what was asked for.
        """
        view = memoryview(data)
        while view:
            if self._sink is None:
                view = self._take_head(view)
            else:
                self._sink.add(bytes(view[: self._left]))
                taken = min(self._left, len(view))
                self._left -= taken
                view = view[taken:]
            if self._sink is not None and not self._left:
                self._end(self._path, self._sink)
                self._sink = None

    def _take_head(self, view: memoryview) -> memoryview:
        """Add to the header; when it is complete its file begins."""
        size_bytes = self._head_bytes()
        missing = size_bytes - len(self._head)
        self._head += view[:missing]
        if len(self._head) == size_bytes == self._head_bytes():
            self._path, self._left = self._read_header(bytes(self._head[_LENGTH_BYTES:]))
            self._head.clear()
            self._sink = self._begin()
        return view[missing:]

    def _head_bytes(self) -> int:
        """How long the header is with its length before it, as far as that is known."""
        if len(self._head) < _LENGTH_BYTES:
            return _LENGTH_BYTES
        length = int.from_bytes(self._head[:_LENGTH_BYTES], "big")
        if not 0 < length <= MAX_HEADER_BYTES:
            raise GuestProtocolError(f"a file with a header of {length} bytes")
        return _LENGTH_BYTES + length

    def _read_header(self, text: bytes) -> tuple[str, int]:
        try:
            header = json.loads(text)
            path, size_bytes = header["path"], header["size"]
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise GuestProtocolError("the header of a file is none") from exc
        if not isinstance(path, str) or path not in self._expected:
            raise GuestProtocolError("a file that nobody asked for")
        if not isinstance(size_bytes, int) or not 0 <= size_bytes <= MAX_BLOB_BYTES:
            raise GuestProtocolError("a file of no size")
        self._expected.discard(path)
        return path, size_bytes
