"""How do whole folders travel? Small files together, large ones alone; and nothing that comes back leads elsewhere."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from leasebox import _files
from leasebox._content import Source, path_source
from leasebox._files import Packed, Request
from leasebox.contract.blobs import MAX_BLOB_BYTES, PART_BYTES
from leasebox.contract.errors import FileError, InvalidSpec
from leasebox.contract.files import MAX_DEPTH, MAX_PACKED, Entry, EntryType
from leasebox.contract.spec import MAX_PATH_BYTES, workspace_path

TOGETHER_BYTES = 32 << 20
ALONE_BYTES = 8 << 20
NAMES_BYTES = 128 << 10


@dataclass(frozen=True, slots=True)
class _Local:
    """A file or folder on this side, and its path in the workspace."""

    host: Path
    path: str
    size_bytes: int
    mode: int
    is_folder: bool


def uploads(source: Path, path: str) -> Iterator[Request[None]]:
    """The operations that put what is below a folder; links to folders, links that lead nowhere, and what
    is neither file nor folder are left out.

    Raises:
        InvalidSpec: There is no such folder, or a file cannot be read.
        FileError: `path` leads out of the workspace, or a file is too large.
    """
    if not source.is_dir():
        raise InvalidSpec(f"{source} is no folder")
    group: list[_Local] = []
    size_bytes = 0
    for one in _walk(source, _rooted(path)):
        if one.size_bytes > ALONE_BYTES:
            yield _put_alone(one)
            continue
        if len(group) >= MAX_PACKED or size_bytes + one.size_bytes > TOGETHER_BYTES:
            yield _files.unpack(_together(group))
            group, size_bytes = [], 0
        group.append(one)
        size_bytes += one.size_bytes
    if group:
        yield _files.unpack(_together(group))


def _walk(source: Path, root: PurePosixPath) -> Iterator[_Local]:
    for folder, folders, names in os.walk(source, onerror=_refuse):
        folders.sort()
        for name in sorted([*folders, *names]):
            host = Path(folder, name)
            if one := _local(host, str(root / host.relative_to(source).as_posix())):
                yield one


def _local(host: Path, path: str) -> _Local | None:
    try:
        if host.is_dir():
            return None if host.is_symlink() else _Local(host, path, 0, 0o755, is_folder=True)
        if not host.is_file():
            return None
        about = host.stat()
    except OSError as exc:
        _refuse(exc)
    return _Local(host, path, about.st_size, about.st_mode & 0o777, is_folder=False)


def _refuse(error: OSError) -> NoReturn:
    raise InvalidSpec(f"cannot read {error.filename}: {error.strerror}") from error


def _put_alone(one: _Local) -> Request[None]:
    packed = _together([one])
    # `write` says of one that is too large that it is; just below the bound there is no room for what tells the mode.
    return _files.unpack(packed) if packed.size_bytes <= MAX_BLOB_BYTES else _files.write(one.path, one.host)


def _together(group: Sequence[_Local]) -> Source:
    """One behind the other in the form that `leasebox_guest.files.put` takes."""
    headers = [_header(one) for one in group]
    size_bytes = sum(len(header) for header in headers) + sum(one.size_bytes for one in group)

    def _pieces() -> Iterator[bytes]:
        for header, one in zip(headers, group, strict=True):
            yield header
            if not one.is_folder:
                file = path_source(one.path, one.host)
                if file.size_bytes != one.size_bytes:
                    raise InvalidSpec(f"{one.host} changed its size while it was read")
                yield from file.parts()

    return Source(size_bytes, lambda: _in_parts(_pieces()))


def _header(one: _Local) -> bytes:
    told: dict[str, object] = {"path": one.path, "folder": True}
    if not one.is_folder:
        told = {"path": one.path, "size": one.size_bytes, "mode": one.mode | 0o600}
    header = json.dumps(told).encode()
    return len(header).to_bytes(4, "big") + header


def _in_parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= PART_BYTES:
            yield bytes(pending[:PART_BYTES])
            del pending[:PART_BYTES]
    if pending:
        yield bytes(pending)


class Tree:
    """A folder of the workspace on its way into one of this side.

    Args:
        entries: All that is below `path`, as `list` tells it.
        path: The folder in the workspace.
        target: Made if it is missing.

    Raises:
        FileError: A name that was told does not stand below the folder, or there is a folder that `list` passes over.
    """

    def __init__(self, entries: Sequence[Entry], path: str, target: Path) -> None:
        self._root = _rooted(path)
        self._target = target
        if [entry.path for entry in entries if entry.type is not EntryType.DIRECTORY] == [str(self._root)]:
            raise FileError(f"{path!r} is no folder", code="not_a_file", hint="read it")
        folders = [entry for entry in entries if entry.type is EntryType.DIRECTORY]
        self._folders = [self._place(entry.path) for entry in folders]
        for folder in folders:
            self._check_entered(folder)
        self._files = [entry for entry in entries if entry.type is EntryType.FILE]

    def make_folders(self) -> None:
        """Make the target and the folders in it."""
        for folder in (self._target, *self._folders):
            folder.mkdir(parents=True, exist_ok=True)

    def requests(self) -> Iterator[Request[Sequence[Packed]]]:
        """The operations that get the files."""
        group: list[str] = []
        size_bytes = names_bytes = 0
        for entry in self._files:
            name_bytes = len(json.dumps(entry.path))
            if entry.size_bytes > ALONE_BYTES:
                yield _alone(entry)
                continue
            is_full = size_bytes + entry.size_bytes > TOGETHER_BYTES or names_bytes + name_bytes > NAMES_BYTES
            if group and (is_full or len(group) >= MAX_PACKED):
                yield _files.pack(group)
                group, size_bytes, names_bytes = [], 0, 0
            group.append(entry.path)
            size_bytes += entry.size_bytes
            names_bytes += name_bytes
        if group:
            yield _files.pack(group)

    def save(self, came: Sequence[Packed]) -> None:
        """Write files that came; their owner may read and write them, and run what could be run."""
        for one in came:
            place = self._place(one.path)
            place.unlink(missing_ok=True)
            place.write_bytes(one.data)
            place.chmod(one.mode | 0o600)

    def _check_entered(self, folder: Entry) -> None:
        """Refuse what `list` does not look into: a copy without it would pass for a whole one."""
        if folder.mode & 0o500 != 0o500:
            raise FileError(f"{folder.path!r} may not be read", hint="chmod it, or move it away")
        depth = len(PurePosixPath(folder.path).relative_to(self._root).parts)
        if depth >= MAX_DEPTH or len(os.fsencode(folder.path)) > MAX_PATH_BYTES:
            raise FileError(
                f"{folder.path[:200]!r}: deeper than {MAX_DEPTH} folders or {MAX_PATH_BYTES} bytes",
                code="too_large",
                hint="pack it with tar in the session, and get that",
            )

    def _place(self, path: str) -> Path:
        """Where a path of the workspace goes; what a sandbox tells is the word of a stranger."""
        told = PurePosixPath(path)
        if told.is_absolute() or ".." in told.parts or not told.is_relative_to(self._root):
            raise FileError(f"{path!r} is not below {str(self._root)!r}", code="outside_workspace")
        return self._target / told.relative_to(self._root)


def _alone(entry: Entry) -> Request[Sequence[Packed]]:
    one = _files.read(entry.path)
    return Request(one.operation, lambda data: [Packed(entry.path, entry.mode & 0o777, data)])


def _rooted(path: str) -> PurePosixPath:
    try:
        return PurePosixPath(workspace_path(path))
    except ValueError as exc:
        raise FileError(f"{path!r}: {exc}", code="outside_workspace") from exc
