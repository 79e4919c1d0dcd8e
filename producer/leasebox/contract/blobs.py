"""How is a content above 256 KiB kept in Redis? As one string, written and read in parts of 1 MiB.

An upload has the SHA-256 of its content as its id, below its tenant: the same file is kept once however many jobs bring
it, a repeat of a submit is equal to the first, and nobody reaches what another tenant has uploaded. All commands may be
repeated.
"""

from collections.abc import Iterator

PART_BYTES = 1 << 20
MAX_BLOB_BYTES = 100 << 20
BLOB_ID = r"^[0-9a-f]{64}$"
UPLOAD_TTL_S = 3600.0
"""Of an upload that no job needs (any more)."""

Command = tuple[str | bytes | int, ...]


def upload(tenant: str, blob: str) -> str:
    """The id under which `Keys.blob` and the scripts know a tenant's upload."""
    return f"{tenant}/{blob}"


def write_part(key: str, at: int, data: bytes, ttl_s: float) -> tuple[Command, ...]:
    """Commands that write a part; a longer life that the string has already is left alone, so is one without end.

    The first answers how many bytes there were: less than `at` means that Redis has lost some, and has zeros now.
    """
    seconds = max(1, round(ttl_s))
    made = ("SET", key, b"", "NX", "EX", seconds)
    return (length(key), made, ("SETRANGE", key, at, data), ("EXPIRE", key, seconds, "GT"))


def read_part(key: str, at: int) -> Command:
    """The command that answers the part that begins at `at`; empty behind the end."""
    return ("GETRANGE", key, at, at + PART_BYTES - 1)


def length(key: str) -> Command:
    """The command that answers how many bytes there are; 0 if there is no such string."""
    return ("STRLEN", key)


def starts(size_bytes: int) -> Iterator[int]:
    """Where the parts of a content begin."""
    yield from range(0, size_bytes, PART_BYTES)
