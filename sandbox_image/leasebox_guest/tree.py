"""What is in the workspace, and how is it moved about? As the job's uid, component by component, through no link.

Runs in a forked child like `files`: the answer is JSON on stdout, what is wrong is said on stderr as there. Names are
bytes to the kernel; JSON has those that are not UTF-8 as lone surrogates, escaped, so that they come back unchanged.
"""

# pathlib would be loaded into every job
# ruff: noqa: PTH208

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from errno import EEXIST, EINVAL, EISDIR, ENOTDIR, ENOTEMPTY

from leasebox_guest import wipe
from leasebox_guest.files import AS_FOLDER, FileError, explained, open_folder, open_parent, refuse, send, write_all

MAX_ENTRIES = 10_000
MAX_PATH_BYTES = 1024
"""Longer paths cannot be asked for; folders whose path is that long are told, not entered."""
MAX_DEPTH = 64
_IN_THE_WAY = (EISDIR, ENOTDIR, EEXIST, ENOTEMPTY, EINVAL)

Found = tuple[str, os.stat_result]


def run(workspace: str, argv: list[str]) -> int:
    """Carry one operation out: `VERB ARGUMENTS...`.

    Returns:
        The exit code.
    """
    verb, *arguments = argv
    try:
        try:
            _VERBS[verb](workspace, *arguments)
        except OSError as exc:
            raise explained(exc, arguments[0] if arguments else verb) from exc
    except (FileError, KeyError, ValueError, TypeError) as exc:
        return refuse(exc)
    return 0


def _list(workspace: str, path: str, depth: str) -> None:
    _answer([_entry(name, about) for name, about in _found(workspace, path, int(depth))])


def _stat(workspace: str, path: str) -> None:
    _answer(_entry(path, _about(workspace, path)))


def _scan(workspace: str) -> None:
    """Every regular file as [path, size, and what changes with its content or its place]."""
    found = _found(workspace, ".", MAX_DEPTH)
    _answer(
        [
            [name, about.st_size, f"{about.st_ino}.{about.st_mtime_ns}.{about.st_ctime_ns}"]
            for name, about in found
            if stat.S_ISREG(about.st_mode)
        ]
    )


def _mkdir(workspace: str, path: str) -> None:
    try:
        os.close(open_folder(workspace, path, makes=True))
    except NotADirectoryError:
        raise FileError(f"not_a_file {path!r}: there is a file of that name") from None


def _move(workspace: str, path: str, to: str) -> None:
    source, name = open_parent(workspace, path, makes=False)
    os.stat(name, dir_fd=source, follow_symlinks=False)  # no folder is made for what is not there
    target, new_name = open_parent(workspace, to, makes=True)
    try:
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    except OSError as exc:
        if exc.errno not in _IN_THE_WAY:
            raise
        raise FileError(f"not_a_file {to!r}: {exc.strerror}") from exc


def _remove(workspace: str, path: str) -> None:
    folder, name = open_parent(workspace, path, makes=False)
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
        return
    # Gone at once to whoever looks; then emptied however deep it is.
    hidden = f".leasebox-{os.urandom(8).hex()}"
    top = open_folder(workspace, ".", makes=False)
    os.chmod(name, 0o700, dir_fd=folder)  # moving a folder writes its `..`
    os.rename(name, hidden, src_dir_fd=folder, dst_dir_fd=top)
    wipe.empty(f"{workspace}/{hidden}")
    os.rmdir(hidden, dir_fd=top)


def _pack(workspace: str) -> None:
    """Send the files whose paths stand on stdin as a JSON list, in the form that `files.put` takes."""
    for path in json.loads(_all_of_stdin()):
        send(workspace, path, with_header=True)


def _extract(workspace: str, path: str, form: str) -> None:
    from leasebox_guest import archives

    archives.extract(workspace, path, form)


def _all_of_stdin() -> bytes:
    parts = []
    while data := os.read(0, 65536):
        parts.append(data)
    return b"".join(parts)


def _found(workspace: str, path: str, depth: int) -> Iterator[Found]:
    """What stands below `path`, each folder before what is in it; of anything but a folder, that itself.

    Raises:
        FileError: There are more than `MAX_ENTRIES`.
    """
    try:
        folder = open_folder(workspace, path, makes=False)
    except FileError:
        raise
    except OSError:
        yield path, _about(workspace, path)
        return
    waiting = [(_below("", path), folder, depth)]
    count = 0
    while waiting:
        above, here, left = waiting.pop()
        inner: list[str] = []
        for name, about in _names(workspace, above, here):
            count += 1
            if count > MAX_ENTRIES:
                raise FileError(f"too_large {path!r}: it holds more than {MAX_ENTRIES} names")
            yield name, about
            if stat.S_ISDIR(about.st_mode) and left > 1 and len(os.fsencode(name)) <= MAX_PATH_BYTES:
                inner.append(name)
        waiting += [(name, -1, left - 1) for name in reversed(inner)]


def _names(workspace: str, above: str, folder: int) -> list[Found]:
    """The names in a folder, sorted; none if it may not be read. Its descriptor is opened late and closed here."""
    try:
        here = folder if folder >= 0 else open_folder(workspace, above, makes=False)
    except (OSError, FileError):
        return []
    try:
        names = sorted(os.listdir(here))
        return [(_below(above, name), about) for name in names if (about := _look(name, here)) is not None]
    except OSError:
        return []
    finally:
        os.close(here)


def _look(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _below(above: str, name: str) -> str:
    return f"{above}/{name}" if above else ("" if name == "." else name)


def _about(workspace: str, path: str) -> os.stat_result:
    if path == ".":
        here = os.open(workspace, AS_FOLDER)
        try:
            return os.fstat(here)
        finally:
            os.close(here)
    folder, name = open_parent(workspace, path, makes=False)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _entry(path: str, about: os.stat_result) -> dict[str, object]:
    return {
        "path": path,
        "type": _type(about.st_mode),
        "size_bytes": about.st_size if stat.S_ISREG(about.st_mode) else 0,
        "modified_at": about.st_mtime,
        "mode": stat.S_IMODE(about.st_mode),
    }


def _type(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def _answer(value: object) -> None:
    write_all(1, json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode())


_VERBS: dict[str, Callable[..., None]] = {
    "list": _list,
    "stat": _stat,
    "scan": _scan,
    "mkdir": _mkdir,
    "move": _move,
    "remove": _remove,
    "pack": _pack,
    "extract": _extract,
}
