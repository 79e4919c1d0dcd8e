"""How do files get into the workspace and out of it? As the job's uid, and through no symbolic link.

Both run in a forked child whose standard streams are the job's: what is wrong is said on stderr, the first word is the
code (`outside_workspace`, `not_found`, `not_a_file`, `too_large`, `failed`).
"""

from __future__ import annotations

import os
import stat
from errno import EDQUOT, EFBIG, EISDIR, ELOOP, ENOENT, ENOSPC, ENOTDIR, ENXIO

AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PORTION_BYTES = 65536
_HEADER_LIMIT_BYTES = 65536
_CODES = {
    ENOENT: "not_found",
    EISDIR: "not_a_file",
    ENXIO: "not_a_file",
    ELOOP: "outside_workspace",
    ENOTDIR: "not_found",  # a plain file where the path has a folder
    ENOSPC: "too_large",
    EDQUOT: "too_large",
    EFBIG: "too_large",
}


class FileError(Exception):
    """A file cannot be read or written; the text begins with its code."""


def parts_below(workspace: str, path: str) -> list[str]:
    """The components of `path`, which is relative to the workspace or absolute below it.

    Raises:
        FileError: It leads out of the workspace, or names the workspace itself.
    """
    relative = path[len(workspace) + 1 :] if path.startswith(workspace + "/") else path
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if relative.startswith("/") or not parts or ".." in parts or "\0" in path:
        raise FileError(f"outside_workspace {path!r}")
    return parts


def open_parent(workspace: str, path: str, *, makes: bool) -> tuple[int, str]:
    """Open the folder that holds `path`, component by component; with `makes`, missing ones are made.

    Returns:
        The folder's descriptor, which the caller closes, and the last name.

    Raises:
        FileError: The path leads out of the workspace, also by a link.
        OSError: A component is missing or no folder.
    """
    *folders, name = parts_below(workspace, path)
    return _open_all(workspace, folders, makes=makes), name


def open_folder(workspace: str, path: str, *, makes: bool) -> int:
    """Open the folder `path` as `open_parent` does; `.` is the workspace itself."""
    return _open_all(workspace, [] if path in (".", workspace) else parts_below(workspace, path), makes=makes)


def _open_all(workspace: str, folders: list[str], *, makes: bool) -> int:
    here = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for folder in folders:
        try:
            if makes:
                _make_folder(folder, here)
            inner = os.open(folder, AS_FOLDER, dir_fd=here)
        except NotADirectoryError:
            # O_NOFOLLOW | O_DIRECTORY says the same of a link and of a plain file.
            if stat.S_ISLNK(os.stat(folder, dir_fd=here, follow_symlinks=False).st_mode):
                raise FileError(f"outside_workspace {folder!r} is a link, and links are not followed") from None
            raise
        finally:
            os.close(here)
        here = inner
    return here


def put(workspace: str, source: int = 0) -> int:
    """Unpack `u32 header length, JSON {"path", "size", "mode"?}, size raw bytes` again and again, until the end.

    A file appears whole or not at all, and takes the place of whatever had its name. {"path", "folder": true} makes a
    folder and has no bytes behind it.

    Returns:
        The exit code.
    """
    import json

    try:
        while size := _read_exactly(source, 4, may_end=True):
            length = int.from_bytes(size, "big")
            if length > _HEADER_LIMIT_BYTES:
                raise FileError(f"failed header of {length} bytes")
            entry = json.loads(_read_exactly(source, length))
            size_bytes = None if entry.get("folder") else entry["size"]
            _put_entry(workspace, source, entry["path"], size_bytes, entry.get("mode", 0o644))
    except (FileError, ValueError, KeyError, TypeError, AttributeError) as exc:
        return refuse(exc)
    return 0


def get(workspace: str, path: str, target: int = 1) -> int:
    """Write the bytes of a regular file to `target`.

    Returns:
        The exit code.
    """
    try:
        try:
            send(workspace, path, target)
        except OSError as exc:
            raise explained(exc, path) from exc
    except FileError as exc:
        return refuse(exc)
    return 0


def send(workspace: str, path: str, target: int = 1, *, with_header: bool = False) -> None:
    """Write the bytes of a regular file to `target`, with the header that `put` takes or without.

    Raises:
        FileError: It is none, or became shorter while it was read behind its header.
        OSError: It is not there or may not be read.
    """
    folder, name = open_parent(workspace, path, makes=False)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise FileError(f"not_a_file {path!r}")
        if with_header:
            write_all(target, _header(path, about))
        left = about.st_size
        while data := os.read(fd, min(left, _PORTION_BYTES)):
            write_all(target, data)
            left -= len(data)
        if left:
            raise FileError(f"failed {path!r} ended {left} bytes early")
    finally:
        os.close(fd)


def _header(path: str, about: os.stat_result) -> bytes:
    import json

    header = json.dumps({"path": path, "size": about.st_size, "mode": stat.S_IMODE(about.st_mode)}).encode()
    return len(header).to_bytes(4, "big") + header


def _make_folder(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return


def _put_entry(workspace: str, source: int, path: str, size: int | None, mode: int) -> None:
    """Make a file, or a folder if `size` is None."""
    try:
        if size is None:
            os.close(open_folder(workspace, path, makes=True))
        else:
            _put_one(workspace, source, path, size, mode)
    except OSError as exc:
        raise explained(exc, path) from exc


def _put_one(workspace: str, source: int, path: str, size: int, mode: int) -> None:
    folder, name = open_parent(workspace, path, makes=True)
    partial = f".leasebox-{os.urandom(8).hex()}"
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        left = size
        while left > 0:
            data = os.read(source, min(left, _PORTION_BYTES))
            if not data:
                raise FileError(f"failed {path!r} ended {left} bytes early")
            write_all(fd, data)
            left -= len(data)
        os.fchmod(fd, mode & 0o777)
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(partial, dir_fd=folder)
        raise
    finally:
        os.close(fd)
        os.close(folder)


def _read_exactly(fd: int, size: int, *, may_end: bool = False) -> bytes:
    data = b""
    while len(data) < size:
        portion = os.read(fd, size - len(data))
        if not portion:
            if may_end and not data:
                return b""
            raise FileError("failed input ended inside an entry")
        data += portion
    return data


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however little of it each call takes."""
    while data:
        data = data[os.write(fd, data) :]


def explained(exc: OSError, path: str) -> FileError:
    """The error that the kernel's means for `path`."""
    return FileError(f"{_CODES.get(exc.errno or 0, 'failed')} {path!r}: {exc.strerror}")


def refuse(exc: Exception) -> int:
    """Say on stderr what is wrong; the exit code."""
    text = str(exc) if isinstance(exc, FileError) else f"failed bad entry: {exc!r}"
    os.write(2, text.encode(errors="backslashreplace") + b"\n")
    return 1
