"""Has an image's recipe changed since it was built? One digest over the recipe and what it stands on."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def folder_digest(folder: Path, base: str) -> str:
    """Hex digest of all files of `folder` (path, executable bit, content) and of `base`, the text that names its base.

    Byte-code caches do not count.
    """
    digest = hashlib.sha256(base.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(f"\0{path.relative_to(folder)}\0{executable}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def text_digest(parts: Iterable[str]) -> str:
    """Hex digest of a recipe that is a list of words."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
