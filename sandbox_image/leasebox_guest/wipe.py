"""What did a job leave outside its workspace, and how does it go away?

Looking is cheap and done after each job; the wiper is forked, as the job's uid, only if something is there.
Depth cannot hurt: sub-folders are moved up into the root, so that no path is ever longer than one name.
"""

# pathlib costs more than the whole wipe
# ruff: noqa: PTH101, PTH112, PTH116, PTH208

from __future__ import annotations

import os

from leasebox_guest import posix

WIPE_LIMIT_S = 2.0
NAMES_LIMIT = 1_000_000
_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_dirty(roots: list[str]) -> bool:
    """Whether a root holds a name or the IPC namespace an object. A root that cannot be read counts as dirty."""
    for root in roots:
        try:
            if os.listdir(root):
                return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return bool(roots) and bool(posix.sysv_objects())


def wipe(roots: list[str]) -> None:
    """Empty the roots and remove the SysV objects, as far as this uid may. Nobody else may be alive meanwhile."""
    for root in roots:
        if os.path.isdir(root):
            _Root(root).empty()
    for family, ident in posix.sysv_objects():
        posix.remove_sysv(family, ident)


def empty(root: str) -> None:
    """Empty one folder, as far as this uid may; other processes may make it fail, not make it reach outside."""
    _Root(root).empty()


class _Root:
    """One folder that is being emptied."""

    def __init__(self, path: str) -> None:
        if os.stat(path).st_uid == os.geteuid():
            os.chmod(path, 0o1777)  # noqa: S103 - it is the job's own where the agent has no other uid
        self.fd = os.open(path, _AS_FOLDER)
        self.left = NAMES_LIMIT
        self.moved = 0

    def empty(self) -> None:
        """Pass after pass until it is empty, no pass gets on any more, or the budget of names is used up."""
        while self.left > 0:
            names = os.listdir(self.fd)
            if not names or not self._pass_over(names):
                break
        os.close(self.fd)

    def _pass_over(self, names: list[str]) -> bool:
        self.left -= len(names)
        removed = [self._remove(name) for name in names]
        return any(removed)

    def _remove(self, name: str) -> bool:
        if _unlink(name, self.fd):
            return True
        try:
            os.chmod(name, 0o700, dir_fd=self.fd)
            folder = os.open(name, _AS_FOLDER, dir_fd=self.fd)
        except OSError:
            return False
        try:
            has_moved = self._clear(folder)
        finally:
            os.close(folder)
        return _rmdir(name, self.fd) or has_moved

    def _clear(self, folder: int) -> bool:
        """Unlink the files of `folder`; move its folders up. True if one was moved (which is progress)."""
        has_progress = False
        names = os.listdir(folder)
        self.left -= len(names)
        for name in names:
            if _unlink(name, folder) or _rmdir(name, folder) or self._move_up(name, folder):
                has_progress = True
        return has_progress

    def _move_up(self, name: str, folder: int) -> bool:
        self.moved += 1
        try:
            os.chmod(name, 0o700, dir_fd=folder)  # moving a folder writes its `..`
            os.rename(name, f".{os.getpid()}-{self.moved}", src_dir_fd=folder, dst_dir_fd=self.fd)
        except OSError:
            return False
        return True


def _unlink(name: str, folder: int) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _rmdir(name: str, folder: int) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError:
        return False
    return True
