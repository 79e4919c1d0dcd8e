"""What is an agent asked to do? To start something, and to unpack files."""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields

from leasebox_guest.frames import Kind, pack, pack_json
from leasebox_worker.guestlink.stdin import CHUNK


@dataclass(frozen=True, slots=True)
class Exec:
    """One start inside a sandbox; the fields of the EXEC frame (times in seconds, sizes in bytes).

    Attributes:
        more_soon: Whether another start may follow at once. If so, the agent gets its process ready a few milliseconds
            after this one's end, which costs more than a small job itself; else once the sandbox is at rest.
    """

    id: str
    kind: str
    argv: tuple[str, ...]
    code_bytes: int
    code_path: str | None
    cwd: str
    env: dict[str, str] = field(repr=False)  # secrets stand in it
    wall_s: float
    cpu_s: float | None
    silence_s: float | None
    stream_bytes: int
    line_buffered: bool
    cancel_grace_s: float
    more_soon: bool = True

    def frames(self, code: bytes) -> bytes:
        """EXEC and, in pieces, CODE."""
        parts = [pack_json(Kind.EXEC, {name: getattr(self, name) for name in _FIELDS})]
        parts += [pack(Kind.CODE, code[at : at + CHUNK]) for at in range(0, len(code), CHUNK)]
        return b"".join(parts)


_FIELDS = tuple(each.name for each in fields(Exec))  # `asdict` would copy deep, at 50 us a job


def packed_files(files: Iterable[tuple[str, int, Iterable[bytes]]]) -> Iterator[bytes]:
    """The stream that a `put` reads: per file the length of its header, the header as JSON, its bytes.

    Args:
        files: Path, size, and the bytes in pieces that one STDIN frame carries.
    """
    for path, size_bytes, pieces in files:
        header = json.dumps({"path": path, "size": size_bytes}).encode()
        yield struct.pack(">I", len(header)) + header
        yield from pieces
