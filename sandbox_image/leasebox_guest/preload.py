"""Where do modules live that PID 1 loads for all jobs to come? In a job's home and under its uid, while they load.

Many write when they are imported, and remember where: matplotlib its list of fonts, below HOME if it may, else in a
folder of its own below /tmp that it removes at exit. Made under PID 1's uid, that folder could be removed by no job.
"""

# pathlib and contextlib cost more than all of this
# ruff: noqa: PTH112, PTH208, SIM105

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

from leasebox_guest import parity, posix
from leasebox_guest.job import Rights
from leasebox_guest.settings import Settings

_THREADS_WITHIN_S = 2.0


def preload(settings: Settings, rights: Rights) -> list[str]:
    """Import modules; those that fail are left out and said on stderr. What they wrote is taken away. The loaded ones.

    Raises:
        RuntimeError: One has started a thread that does not end: its locks would stay taken in every job.
    """
    if not settings.preload:
        return []
    roots = (settings.workspace, *settings.wipe)
    home, os.environ["HOME"] = os.environ["HOME"], settings.workspace
    if rights.switches:  # the real ids too: access(2) asks by them, and so does who looks before he writes
        os.setresgid(rights.gid, rights.gid, 0)
        os.setresuid(rights.uid, rights.uid, 0)
    try:
        before = {root: set(os.listdir(root)) for root in roots}
        loaded = [name for name in settings.preload if _is_loaded(name)]
        _wait_for_threads()
        for root, names in before.items():
            for name in set(os.listdir(root)) - names:
                _remove(f"{root}/{name}")
    finally:
        if rights.switches:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
        posix.set_dumpable(False)  # a change of uid leaves it to the host's fs.suid_dumpable
        os.environ["HOME"] = home
    gc.collect()
    return loaded


class AtRest:
    """Modules of the standard library that most programs want, loaded by PID 1 when it has nothing else to do.

    They read nothing but the image's own files, so jobs may have run before.
    """

    def __init__(self, names: list[str]) -> None:
        self._left = names

    @property
    def is_done(self) -> bool:
        """Whether all are loaded."""
        return not self._left

    def load_one(self) -> None:
        """Load the next one; a job that comes then finds all as after a preload. No process may wait for it before."""
        _is_loaded(self._left.pop(0))
        gc.collect()  # of what is new: the rest is frozen
        parity.remember_loaded()
        gc.freeze()


def _is_loaded(name: str) -> bool:
    try:
        __import__(name)
    except Exception as exc:  # noqa: BLE001 (foreign code; a job that imports it sees the same)
        os.write(2, f"preload {name}: {exc!r}\n".encode(errors="backslashreplace"))
        return False
    return True


def _wait_for_threads() -> None:
    """One that was told to end, such as a timer, may take a moment."""
    deadline = time.monotonic() + _THREADS_WITHIN_S
    while len(os.listdir("/proc/self/task")) != 1:
        if time.monotonic() > deadline:
            raise RuntimeError("a preloaded module has started a thread: its locks would stay taken in every job")
        time.sleep(0.001)


def _remove(path: str) -> None:
    """Whatever is left counts as left by the first job."""
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            _try(os.unlink, f"{folder}/{name}")
        for name in folders:
            _try(os.rmdir, f"{folder}/{name}")
    _try(os.rmdir if os.path.isdir(path) else os.unlink, path)


def _try(remove: Callable[[str], None], path: str) -> None:
    try:
        remove(path)
    except OSError:
        pass
