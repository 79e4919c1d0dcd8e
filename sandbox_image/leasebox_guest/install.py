"""How do the start files and the package get to where a sandbox can mount them? (host side)

They are copied to a folder named by their digest, so that a running sandbox keeps what it was started with, and are
never importable on the host: a sitecustomize on the host's path would hijack it.
"""

from __future__ import annotations

import hashlib
import py_compile
import shutil
import sys
import tempfile
from pathlib import Path

MOUNT_POINT = "/agent"
_PACKAGE = "leasebox_guest"
_HOST_ONLY = {"install.py"}
_START_FILES = ("boot.py", "sitecustomize.py")


def install(target_root: Path, python: str | None) -> Path:
    """Copy boot.py, sitecustomize.py and the package into a folder below `target_root`.

    Safe to call again and from several processes at once: whoever comes second finds the folder.

    Args:
        target_root: Made if it is missing. Every folder above it must be open to the uids of the sandboxes.
        python: Version of the guest's interpreter, such as "3.11.2". Compiled files are added when this process runs
            the same minor version, checked by their hash: unchecked ones were seen to run stale code. None = none.

    Returns:
        The folder to mount read-only at `MOUNT_POINT`; root-owned where the caller is root, 0755, files 0644.
    """
    compiles = python is not None and python.split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    sources = _sources()
    target = target_root / f"agent-{_digest(sources, compiles=compiles)}"
    if target.is_dir():
        return target
    target_root.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".agent-", dir=target_root))
    try:
        for name, content in sources.items():
            _write(partial, name, content, compiles=compiles)
        partial.chmod(0o755)
        _publish(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _sources() -> dict[str, bytes]:
    here = Path(__file__).parent
    found = {name: (here / "start" / name).read_bytes() for name in _START_FILES}
    for path in sorted(here.glob("*.py")):
        if path.name not in _HOST_ONLY:
            found[f"{_PACKAGE}/{path.name}"] = path.read_bytes()
    return found


def _digest(sources: dict[str, bytes], *, compiles: bool) -> str:
    digest = hashlib.sha256(sys.implementation.cache_tag.encode() if compiles else b"")
    for name, content in sources.items():
        digest.update(b"%d %s %d " % (len(name), name.encode(), len(content)) + content)
    return digest.hexdigest()[:16]


def _write(root: Path, name: str, content: bytes, *, compiles: bool) -> None:
    path = root / name
    _make_open(path.parent)
    path.write_bytes(content)
    path.chmod(0o644)
    if compiles:
        cache = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        _make_open(cache.parent)
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        py_compile.compile(
            str(path), cfile=str(cache), dfile=f"{MOUNT_POINT}/{name}", doraise=True, invalidation_mode=mode
        )
        cache.chmod(0o644)


def _make_open(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)


def _publish(partial: Path, target: Path) -> None:
    """Give the folder its name, in one step; another process that was quicker made the same."""
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
