"""How output travels to the job's stream: first bytes at once, then every 20 ms or 31 KiB, fenced and repeatable."""

import time
from collections.abc import Callable, Collection

from leasebox.contract.scripts.worker import FIRST_SEQ, Chunk
from leasebox_worker.engine.kept import Kept
from leasebox_worker.guestlink.messages import Output
from leasebox_worker.policy.redaction import Redactor

WINDOW_S = 0.02
CHUNK_BYTES = 31 << 10
"""Below 32 KiB less about 512 B, where Redis' allocator would take the next class (CELERY.md section 5)."""


class Publisher:
    """Collects one attempt's output, keeps what the Result shows, and emits the rest in chunks.

    Args:
        emit: Called with what one read of the channel brought, or 20 ms; may raise `LeaseLost`.
        kept_bytes: What the Result keeps of each stream.
        secrets: Values that must not get out; masked in all that is emitted and kept.
    """

    def __init__(
        self, emit: Callable[[list[Chunk]], None], *, kept_bytes: int, secrets: Collection[bytes] = ()
    ) -> None:
        self._emit = emit
        self._redactors = {stream: Redactor(secrets) for stream in ("stdout", "stderr")} if secrets else {}
        self.kept = {"stdout": Kept(kept_bytes), "stderr": Kept(kept_bytes)}
        self._seq = FIRST_SEQ
        self._pending: list[tuple[str, bytearray]] = []
        self._pending_bytes = 0
        self._due_at = 0.0
        self._release_at = 0.0

    def add(self, output: Output) -> None:
        """Take output; nothing is sent before `flush_if_due`."""
        redactor = self._redactors.get(output.stream)
        self._take(output.stream, output.data if redactor is None else redactor.feed(output.data))
        if redactor is not None and redactor.is_waiting:
            self._release_at = time.monotonic() + WINDOW_S

    def end(self) -> None:
        """Nothing more will be added: what was held back for the secrets' sake is pending now."""
        for stream, redactor in self._redactors.items():
            self._take(stream, redactor.end())

    def _take(self, stream: str, data: bytes) -> None:
        if not data:
            return
        self.kept[stream].add(data)
        if self._pending and self._pending[-1][0] == stream:
            self._pending[-1][1].extend(data)
        else:
            self._pending.append((stream, bytearray(data)))
        self._pending_bytes += len(data)

    def add_event(self, kind: str, data: bytes) -> None:
        """Take another event, as a JSON object, between the output before and after it."""
        self._pending.append((kind, bytearray(data)))
        self._pending_bytes += len(data)

    def wait_s(self, now: float, most_s: float) -> float:
        """How long a reader may wait for more before something must be sent."""
        due = [self._due_at] if self._pending else []
        due += [self._release_at] if any(redactor.is_waiting for redactor in self._redactors.values()) else []
        return max(0.0, min([most_s, *(at - now for at in due)]))

    def flush_if_due(self) -> None:
        """Send what is pending if its window has passed or it is enough for a full chunk.

        Raises:
            LeaseLost: Another holder took over.
        """
        now = time.monotonic()
        if now >= self._release_at:
            for stream, redactor in self._redactors.items():
                self._take(stream, redactor.release())
        if self._pending and (now >= self._due_at or self._pending_bytes >= CHUNK_BYTES):
            self._emit(self.take())
            self._due_at = time.monotonic() + WINDOW_S

    def take(self) -> list[Chunk]:
        """What is pending as chunks, for the script that ends the job; a repeat of the script is harmless."""
        chunks = []
        for stream, data in self._pending:
            step = CHUNK_BYTES if stream in self.kept else len(data)
            for at in range(0, len(data), step):
                chunks.append(Chunk(seq=self._seq, type=stream, data=bytes(data[at : at + step])))
                self._seq += 1
        self._pending.clear()
        self._pending_bytes = 0
        return chunks

    @property
    def total_bytes(self) -> int:
        """Everything that was written, kept or not."""
        return sum(kept.total for kept in self.kept.values())
