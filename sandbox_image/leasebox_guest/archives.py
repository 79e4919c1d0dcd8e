"""How does an archive become files of the workspace? All of it or nothing, as the job's uid, through no link.

Who reads the archive is a process of the sandbox, under its limits; who wrote it may be anybody. Its files are written
under numbers into a hidden folder first. Only when all of it has been read and every name has its place do they move.
"""

# pathlib would be loaded into every job
# ruff: noqa: PTH102, PTH106, PTH123, PTH208

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, cast

from leasebox_guest import wipe
from leasebox_guest.files import FileError, explained, open_folder, open_parent, parts_below, write_all

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 1 << 30
MAX_RATIO = 100
SMALL_BYTES = 10 << 20
"""So much may come out of any archive, however small it is."""
MAX_PATH_BYTES = 1024
_MEMORY_BYTES = 256 << 20
"""More than a reader of archives needs beside what the process has: a directory, a header or a dictionary that wants
more is a bomb."""
_PORTION_BYTES = 1 << 20
_STAGE = ".leasebox-extract-"


class _Member(NamedTuple):
    """One entry of an archive; `content` is None for a folder."""

    name: str
    mode: int
    content: IO[bytes] | None


class _File(NamedTuple):
    """What has been read of an entry: `number` is its name in the hidden folder, None for a folder."""

    path: str
    number: int | None


def extract(workspace: str, path: str, form: str) -> None:
    """Unpack the archive on standard input into the folder `path`.

    Args:
        form: `tar`, also compressed with gzip, bzip2 or xz, or `zip`.

    Raises:
        FileError: It is none, or holds what is not unpacked; nothing was changed.
        OSError: There is no room.
    """
    for left in os.listdir(workspace):  # of one that was killed
        if left.startswith(_STAGE) and stat.S_ISDIR(os.lstat(f"{workspace}/{left}").st_mode):
            _remove(workspace, left)
    _bound_memory()
    stage = f"{_STAGE}{os.urandom(8).hex()}"
    os.mkdir(f"{workspace}/{stage}", 0o700)
    try:
        source = _Counted(0)
        members = _tar_members(source) if form == "tar" else _zip_members(_spooled(source, f"{workspace}/{stage}/zip"))
        files = _read_all(members, source, workspace, path, f"{workspace}/{stage}")
        _check_places(workspace, files)
        _move(workspace, files, stage)
    except MemoryError:
        raise FileError("too_large the archive needs too much memory") from None
    except Exception as exc:
        if isinstance(exc, FileError) or (isinstance(exc, OSError) and exc.errno is not None):
            raise
        # Readers of archives raise whatever a broken one makes them.
        raise FileError(f"failed the archive cannot be read: {type(exc).__name__}: {exc}"[:500]) from exc
    finally:
        _remove(workspace, stage)


class _Counted:
    """Standard input, and how much has been read of it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ahead = b""
        self.size_bytes = 0

    def begins_with(self, mark: bytes) -> bool:
        """Whether these are the next bytes; they are not taken."""
        while len(self._ahead) < len(mark) and (data := self._next(_PORTION_BYTES)):
            self._ahead += data
        return self._ahead.startswith(mark)

    def read(self, size: int) -> bytes:
        """The next bytes, `size` at most; empty at the end."""
        if not self._ahead:
            return self._next(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _next(self, size: int) -> bytes:
        data = os.read(self._fd, size)
        self.size_bytes += len(data)
        return data


def _read_all(members: Iterator[_Member], source: _Counted, workspace: str, path: str, stage: str) -> list[_File]:
    """Write the contents under numbers; what is to stand where, folders first."""
    found: dict[str, _File] = {}
    total = 0
    for member in members:
        target = _target(workspace, path, member.name)
        if target is None:
            continue  # the folder itself
        if len(found) == MAX_ENTRIES:
            raise FileError(f"too_large the archive holds more than {MAX_ENTRIES} names")
        file = _File(target, None if member.content is None else len(found))
        if found.setdefault(target, file) != file:
            raise FileError(f"failed the archive holds {member.name!r} twice")
        if member.content is not None:
            total = _write(f"{stage}/{file.number}", member, source, total)
    while source.read(_PORTION_BYTES):
        pass  # what follows the end of an archive is nobody's, and its sender waits until it is taken
    return sorted(found.values(), key=lambda file: file.number is not None)


def _target(workspace: str, path: str, name: str) -> str | None:
    """Where a name of the archive stands in the workspace; None for the folder itself.

    Raises:
        FileError: It leads elsewhere.
    """
    if name.startswith("/"):
        raise FileError(f"outside_workspace {name!r} is an absolute name")
    names = [part for part in name.split("/") if part not in ("", ".")]
    if not names:
        return None
    found = "/".join(parts_below(workspace, "/".join(([] if path == "." else [path]) + names)))
    if len(os.fsencode(found)) > MAX_PATH_BYTES or max(map(len, map(os.fsencode, names))) > 255:
        raise FileError(f"failed {name[:200]!r}: longer than a path may be")
    return found


def _write(place: str, member: _Member, source: _Counted, total: int) -> int:
    """Write one content; how many bytes there are in all now."""
    assert member.content is not None
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while data := member.content.read(_PORTION_BYTES):
            total += len(data)
            if total > MAX_UNPACKED_BYTES:
                raise FileError(f"too_large the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes")
            if total > SMALL_BYTES + MAX_RATIO * source.size_bytes:
                raise FileError(f"too_large the archive unpacks to more than {MAX_RATIO} times its size")
            write_all(fd, data)
        os.fchmod(fd, member.mode & 0o777 | 0o600)
    finally:
        os.close(fd)
    return total


def _tar_members(source: _Counted) -> Iterator[_Member]:
    import tarfile

    class _Entry(tarfile.TarInfo):
        @classmethod
        def fromtarfile(cls, archive: tarfile.TarFile) -> _Entry:
            """As of tarfile, which takes what is no header for the end: of an archive that was cut, or is broken."""
            try:
                return super().fromtarfile(archive)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                raise
            except tarfile.HeaderError as exc:
                raise tarfile.ReadError(f"it ends before its end: {exc}") from exc

    plain = _plain(source)
    with tarfile.open(fileobj=plain, mode="r|", errors="surrogateescape", tarinfo=_Entry) as archive:
        for entry in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            if entry.isdir():
                yield _Member(entry.name, 0o755, None)
            elif entry.isreg():
                yield _Member(entry.name, entry.mode, archive.extractfile(entry))
            else:
                raise FileError(f"not_a_file {entry.name!r} is {_kind(entry)}: only files and folders are unpacked")
    behind = 0
    while data := plain.read(_PORTION_BYTES):  # to where a checksum stands
        behind += len(data)
        if behind > SMALL_BYTES:
            raise FileError(f"too_large the archive has more than {SMALL_BYTES} bytes behind its end")


def _plain(source: _Counted) -> Any:
    """What is compressed in the source, or itself. tarfile could do it too, but looks at no checksum of gzip's."""
    readable = cast("IO[bytes]", source)
    if source.begins_with(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=readable)
    if source.begins_with(b"BZh"):
        import bz2

        return bz2.BZ2File(readable)
    if source.begins_with(b"\xfd7zXZ") or source.begins_with(b"\x5d\0\0\x80"):
        import lzma

        return lzma.LZMAFile(readable)
    return readable


def _kind(entry: Any) -> str:
    return "a link" if entry.islnk() or entry.issym() else "a device or a pipe"


def _zip_members(archive_file: IO[bytes]) -> Iterator[_Member]:
    import zipfile

    with archive_file, zipfile.ZipFile(archive_file) as archive:
        if len(archive.filelist) > MAX_ENTRIES:
            raise FileError(f"too_large the archive holds more than {MAX_ENTRIES} names")
        for entry in archive.filelist:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise FileError(f"not_a_file {entry.filename!r} is a link or a device: only files are unpacked")
            if entry.is_dir() or kind == stat.S_IFDIR:
                yield _Member(entry.filename, 0o755, None)
                continue
            with archive.open(entry) as content:
                yield _Member(entry.filename, entry.external_attr >> 16 & 0o777 or 0o644, content)


def _spooled(source: _Counted, place: str) -> IO[bytes]:
    """A zip is read from its end: it is written down first."""
    fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    while data := source.read(_PORTION_BYTES):
        write_all(fd, data)
    return open(fd, "rb")


def _check_places(workspace: str, files: list[_File]) -> None:
    """Refuse what has no place: a name that is a file here and a folder there, or a link in the way."""
    for file in files:
        try:
            parent, name = open_parent(workspace, file.path, makes=False)
        except FileNotFoundError:
            continue  # its folder is made
        except OSError as exc:
            raise explained(exc, file.path) from exc
        try:
            about = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            continue
        finally:
            os.close(parent)
        if stat.S_ISDIR(about.st_mode) is not (file.number is None):
            raise FileError(f"not_a_file {file.path!r}: a folder and a file have this name")
    paths = {file.path for file in files if file.number is not None}
    for file in files:
        parts = file.path.split("/")
        if any("/".join(parts[:depth]) in paths for depth in range(1, len(parts))):
            raise FileError(f"not_a_file {file.path!r}: a folder and a file have the same name")


def _move(workspace: str, files: list[_File], stage: str) -> None:
    source = open_folder(workspace, stage, makes=False)
    try:
        for file in files:
            if file.number is None:
                os.close(open_folder(workspace, file.path, makes=True))
                continue
            parent, name = open_parent(workspace, file.path, makes=True)
            try:
                os.rename(str(file.number), name, src_dir_fd=source, dst_dir_fd=parent)
            finally:
                os.close(parent)
    finally:
        os.close(source)


def _bound_memory() -> None:
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _remove(workspace: str, name: str) -> None:
    wipe.empty(f"{workspace}/{name}")
    os.rmdir(f"{workspace}/{name}")
