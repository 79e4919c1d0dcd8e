"""How are secrets kept out of a job's output, also where they are cut between two writes?

Exact bytes only: a program that encodes a secret before it prints it is not found out. So this protects against
accidents; what a job does with a secret on purpose is bounded by its network list.
"""

from collections.abc import Iterable

MASK = b"***"
_SHORT_BYTES = 4


class Redactor:
    """Masks every occurrence of some values in one stream; overlapping ones together, so that no tail remains.

    Held back is only the end of what came, as far as it may be the beginning of a value.
    """

    def __init__(self, values: Iterable[bytes]) -> None:
        """Starts at the beginning of a stream.

        Args:
            values: Of at least four bytes each (`release` lets fewer out).
        """
        self._values = tuple(values)
        self._held = b""
        self._answered = 0  # so many bytes of `_held` are out already, as they are or masked
        self._is_masked = False  # what is out of `_held` is masked

    @property
    def is_waiting(self) -> bool:
        """Whether `release` has something to give."""
        return self._answered < len(self._held) < _SHORT_BYTES

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; those that may go out."""
        text = self._held + data
        return self._advance(text, len(text) - self._open_bytes(text))

    def _advance(self, text: bytes, certain: int) -> bytes:
        """Answer for the bytes before `certain`, hold the others; a value that starts among these is found again."""
        out, at, is_masked = bytearray(), self._answered, self._is_masked
        for start, end in self._found(text):
            if end <= at or start >= certain:
                continue
            if start >= at or not is_masked:  # else it goes on where the last one ended
                out += text[at:start] + MASK
            at, is_masked = end, True
        if at < certain:
            out += text[at:certain]
            at = certain
        self._held = text[certain:]
        self._answered = at - certain
        self._is_masked = is_masked and self._answered > 0
        return bytes(out)

    def release(self) -> bytes:
        """What is held and too short to tell anything of a value, so that a prompt need not wait for what follows it.

        A longer beginning waits until it is decided: a value that is written slowly must not slip through.
        """
        if not self.is_waiting:
            return b""
        out = self._held[self._answered :]
        self._answered, self._is_masked = len(self._held), False
        return out

    def end(self) -> bytes:
        """What is still held, at the end of the stream: no value goes on in it any more."""
        return self._advance(self._held, len(self._held))

    def _open_bytes(self, text: bytes) -> int:
        """Length of the longest end of `text` that some value begins with, and does not end with."""
        return max((_open_bytes(text, value) for value in self._values), default=0)

    def _found(self, text: bytes) -> list[tuple[int, int]]:
        """Where values stand, in order; what overlaps is one."""
        places = sorted(place for value in self._values for place in _places(text, value))
        merged: list[tuple[int, int]] = []
        for start, end in places:
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def redact(data: bytes, values: Iterable[bytes]) -> bytes:
    """Mask every occurrence in bytes that are whole."""
    redactor = Redactor(values)
    return redactor.feed(data) + redactor.end()


def _open_bytes(text: bytes, value: bytes) -> int:
    for size in range(min(len(value) - 1, len(text)), 0, -1):
        if text.endswith(value[:size]):
            return size
    return 0


def _places(text: bytes, value: bytes) -> list[tuple[int, int]]:
    places, at = [], text.find(value)
    while at >= 0:
        places.append((at, at + len(value)))
        at = text.find(value, at + 1)
    return places
