#!/usr/bin/env python3
"""Make a stopped Redis start with what a backup holds.

    restore.py FILE DATA_FOLDER     DATA_FOLDER is what `CONFIG GET dir` says; run it as root, or as its owner

With `appendonly yes`, which an installation needs, a server that starts reads its append-only files and passes
`dump.rdb` by, so a copy put there is silently ignored. Here the backup becomes the base of a new append-only file: the
first file that the server reads, in the form that it writes itself (Redis 7.0 and later, Valkey). What the folder held
is kept beside it, under `before-restore-<time>`.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

import os
import shutil
import sys
import time
from pathlib import Path

AOF_FOLDER = "appendonlydir"
_NAME = "appendonly.aof"
_STARTS = (b"REDIS", b"VALKEY")
_SUM_BYTES = 8
_PIECE = 1 << 20


def _sums() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            # CRC-64 as Redis has it (crc64.c, "Jones"), its bits in reverse.
            value = value >> 1 ^ (0x95AC9329AC4BC9B5 if value & 1 else 0)
        table.append(value)
    return table


def fault_of(backup: Path) -> str | None:
    """Why the file is no whole backup; None for one that is. Reads some 10 MB a second.

    It ends with its own checksum. One of 0 means that the server was told to make none.
    """
    table, found, left = _sums(), 0, backup.stat().st_size - _SUM_BYTES
    with backup.open("rb") as file:
        if not file.read(6).startswith(_STARTS):
            return "it is no RDB file"
        file.seek(0)
        while left > 0 and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            for byte in piece:
                found = table[(found ^ byte) & 0xFF] ^ found >> 8
        told = int.from_bytes(file.read(_SUM_BYTES), "little")
    return None if told in (0, found) else "it is cut off, or was changed"


def is_in_use(folder: Path) -> bool:
    """Whether a process has a file open in the server's folder, or works there; only root sees all of them."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = [process / "cwd", *(process / "fd").iterdir()] if process.name != str(os.getpid()) else []
            if any(link.readlink().is_relative_to(folder) for link in held):
                return True
        except OSError:
            continue
    return False


def put(backup: Path, folder: Path) -> Path:
    """Replace what the folder holds; where that is kept.

    Raises:
        OSError: What was there is there, or under the folder that is kept.
    """
    owner = folder.stat()
    kept = folder / time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
    fresh = folder / f".{AOF_FOLDER}.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    base, increment = f"{_NAME}.1.base.rdb", f"{_NAME}.1.incr.aof"
    shutil.copyfile(backup, fresh / base)
    (fresh / increment).touch()
    (fresh / f"{_NAME}.manifest").write_text(f"file {base} seq 1 type b\nfile {increment} seq 1 type i\n")
    for path in (fresh, *fresh.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
        if path.is_file():
            path.chmod(0o600)
            with path.open("rb") as file:
                os.fsync(file.fileno())
    kept.mkdir(mode=0o700)
    for name in (AOF_FOLDER, "dump.rdb"):
        if (folder / name).exists():
            (folder / name).rename(kept / name)
    fresh.rename(folder / AOF_FOLDER)
    return kept


def main(arguments: list[str]) -> int:
    """Carry the command out; 0, or 1 and a sentence, or 2 and how to use it."""
    if len(arguments) != 2:
        print("usage: restore.py FILE DATA_FOLDER", file=sys.stderr)
        return 2
    backup, folder = Path(arguments[0]), Path(arguments[1]).absolute()
    try:
        fault = fault_of(backup)
        if fault is None and not folder.is_dir():
            fault = f"{folder} is no folder"
        if fault is None and is_in_use(folder.resolve()):
            fault = f"a process uses {folder}: stop Redis first"
        if fault is not None:
            print(f"restore.py: nothing was changed: {backup}: {fault}", file=sys.stderr)
            return 1
        kept = put(backup, folder)
    except OSError as exc:
        print(f"restore.py: {exc}", file=sys.stderr)
        return 1
    print(f"{folder} is restored; what was there is in {kept}. Now start Redis with appendonly yes.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
