#!/usr/bin/env python3
"""Write all that an installation holds into one file, as it stood at one instant, while it goes on working.

    backup.py FILE      LEASEBOX_URL or LEASEBOX_URL_FILE names the Redis; its user needs what `backup` of users.acl has
    backup.py FOLDER    FOLDER/leasebox-<time in UTC>.rdb

The server is asked for the copy that it would give a new replica: made by a forked process, so nothing stops, and no
key is of another instant than the next; keys copied one by one would tear records from their lines. The file is the
whole Redis, other databases and other applications' keys included. It appears under its name when it is complete.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/replication/
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from leasebox._redis import redis_url
from leasebox.config import load
from leasebox.contract.errors import LeaseboxError

SILENT_S = 60.0
"""A server that prepares the copy sends a line end every second or so; one that sends nothing for so long is gone."""
_PIECE = 1 << 20
_MARK_BYTES = 40


class Incomplete(Exception):
    """What came is no whole copy."""


class Wire:
    """The bytes of one connection, read by line or by length."""

    def __init__(self, connection: redis.Connection) -> None:
        self._socket = connection._sock
        self._socket.settimeout(SILENT_S)
        self._rest = b""

    def line(self) -> bytes:
        """The next line that is not empty; empty ones only say that the server is alive."""
        while True:
            line, end, rest = self._rest.partition(b"\n")
            if not end:
                self._rest += self._received()
                continue
            self._rest = rest
            if line.strip():
                return line.strip()

    def exactly(self, length: int) -> Iterator[bytes]:
        """The next `length` bytes."""
        while length:
            piece = self._rest or self._received()
            self._rest = piece[length:]
            yield piece[:length]
            length -= len(piece[:length])

    def until(self, mark: bytes) -> Iterator[bytes]:
        """The bytes before `mark`, with which they end."""
        held = self._rest
        while not held.endswith(mark):
            if len(held) > _MARK_BYTES:
                yield held[:-_MARK_BYTES]
                held = held[-_MARK_BYTES:]
            held += self._received()
        yield held[: -len(mark)]

    def _received(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise Incomplete("Redis closed the connection before the copy was complete")
        return bytes(piece)


def copy_of(connection: redis.Connection) -> Iterator[bytes]:
    """The pieces of the server's RDB file.

    Raises:
        Incomplete: The server refused, or the connection ended early.
    """
    # Nothing but the copy: a replica would be sent every write that follows as well (Redis 7.0 and later).
    connection.send_command("REPLCONF", "rdb-only", "1")
    connection.read_response()
    connection.send_command("SYNC")
    wire = Wire(connection)
    head = wire.line()
    if not head.startswith(b"$"):
        raise Incomplete(f"Redis refused: {head.decode(errors='replace').lstrip('-')}")
    # `$<length>`, or `$EOF:<40 bytes>` where the server does not know the length beforehand.
    yield from wire.until(head[5:]) if head.startswith(b"$EOF:") else wire.exactly(int(head[1:]))


def write(url: str, target: Path) -> int:
    """Put the copy at `target`, readable for its owner alone; its size.

    Raises:
        Incomplete, OSError, redis.RedisError: There is no new file at `target`.
    """
    partial = target.with_name(f".{target.name}.partial")
    connection = redis.Redis.from_url(redis_url(url), socket_timeout=SILENT_S).connection_pool.get_connection()
    try:
        partial.touch(mode=0o600)
        with partial.open("wb") as file:
            for piece in copy_of(connection):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        size = partial.stat().st_size
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
        connection.disconnect()
    return size


def main(arguments: list[str]) -> int:
    """Carry the command out; 0, or 1 and a sentence, or 2 and how to use it."""
    if len(arguments) != 1:
        print("usage: backup.py FILE|FOLDER", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    if target.is_dir():
        target /= time.strftime("leasebox-%Y%m%dT%H%M%SZ.rdb", time.gmtime())
    try:
        url = load().url
        if url is None:
            print("backup.py: set LEASEBOX_URL to the Redis", file=sys.stderr)
            return 1
        size = write(url, target)
    except (Incomplete, OSError, LeaseboxError, redis.RedisError) as exc:
        print(f"backup.py: no backup was made: {exc}", file=sys.stderr)
        return 1
    print(f"{target} {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
