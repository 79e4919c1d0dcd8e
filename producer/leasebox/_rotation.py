"""How does a file that several processes append to stay small? It is copied aside and emptied where it stands.

Its writers hold it open, the worker and Valkey for weeks, so it cannot be renamed; all of them append (`O_APPEND`), so
each goes on at its new end. What is written in the instant between copy and emptying is lost, as with logrotate's
`copytruncate`.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 8 << 20
KEPT = 2
"""Older files beside the one that is written: NAME.1, and NAME.2 before it."""


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Put what a file holds aside once it is larger; False if it was left alone, also where the disk is full."""
    with suppress(OSError):
        if path.stat().st_size > max_bytes:
            for number in range(KEPT, 1, -1):
                with suppress(FileNotFoundError):
                    _older(path, number - 1).replace(_older(path, number))
            shutil.copy2(path, _older(path, 1))
            os.truncate(path, 0)
            return True
    return False


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
