"""How does a file that several processes append to stay small? It is copied aside and emptied where it stands.

Its writers hold it open, the worker and Valkey for weeks, so it cannot be renamed; all of them append (`O_APPEND`), so
each goes on at its new end. What is written in the instant between copy and emptying is lost, as with logrotate's
`copytruncate`.
"""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 8 << 20
KEPT = 2
"""Older files beside the one that is written: NAME.1, and NAME.2 before it."""


class Rotation:
    """Looks at files now and again; where one cannot be put aside, it is told on stderr once, not at each look."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._troubled: set[Path] = set()

    def look(self, path: Path) -> bool:
        """Put what a file holds aside once it is larger; False if it was left alone, also where the disk is full."""
        try:
            is_aside = rotate(path, self._max_bytes)
        except OSError as exc:
            self._tell(path, exc)
            return False
        self._troubled.discard(path)
        return is_aside

    def _tell(self, path: Path, exc: OSError) -> None:
        if path in self._troubled:
            return
        self._troubled.add(path)
        # Stderr may be the very log on the very disk.
        with suppress(OSError):
            text = f"leasebox: {path} cannot be put aside and grows: {exc.strerror}; make room there"
            print(text, file=sys.stderr, flush=True)  # noqa: T201


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Put what a file holds aside once it is larger; False if it was left alone.

    Raises:
        OSError: It could not be put aside, for instance because the disk is full; it and the older ones are as before.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    copy = path.with_name(f"{path.name}.copy")
    try:
        shutil.copy2(path, copy)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    # Only a whole copy pushes the oldest out.
    for number in range(KEPT, 1, -1):
        with suppress(FileNotFoundError):
            _older(path, number - 1).replace(_older(path, number))
    copy.replace(_older(path, 1))
    os.truncate(path, 0)
    return True


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
