"""What of a job's output the Result keeps: the first three quarters and the last quarter of a bound."""

import base64
from dataclasses import dataclass, field


@dataclass(slots=True)
class Kept:
    """One stream's kept bytes; memory stays below twice the bound however much is written."""

    bound: int
    total: int = 0
    _head: bytearray = field(default_factory=bytearray)
    _tail: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self.bound - self.bound // 4 - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        tail_bound = self.bound // 4
        if data and tail_bound:
            self._tail += data[-tail_bound:]
            if len(self._tail) > 2 * tail_bound:
                del self._tail[:-tail_bound]

    @property
    def is_truncated(self) -> bool:
        """Whether a middle part is missing."""
        return self.total > self.bound

    def data(self) -> bytes:
        """The kept bytes: everything up to the bound, else head and tail."""
        tail_bound = self.bound // 4
        return bytes(self._head) + (bytes(self._tail[-tail_bound:]) if tail_bound else b"")

    def text_and_base64(self) -> tuple[str, str | None]:
        """As text with replacement, and as base64 only if the bytes are not UTF-8."""
        data = self.data()
        try:
            return data.decode(), None
        except UnicodeDecodeError:
            return data.decode(errors="replace"), base64.b64encode(data).decode()
