"""What must be cleaned up after a worker that was killed? One folder per sandbox says it; made before anything else.

`<state_dir>/<driver>/<name>/state.json` holds who made the sandbox and with which labels, `pid` its first process;
mounts and cgroups follow from the name, so a crash at any point leaves enough to find them all.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid.

    `started` is in clock ticks since boot (proc(5), stat, field 22).
    """

    pid: int
    started: int

    def is_alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not."""
        found = _stat(self.pid)
        return found is not None and found[1] == self.started and found[0] not in "ZX"


@dataclass(frozen=True)
class Record:
    """One sandbox as its folder tells it.

    Attributes:
        process: None when the worker died before it was started.
        uid: The uid that no other sandbox had, where the driver noted it.
    """

    name: str
    labels: Mapping[str, str]
    created_at: float
    owner: Process
    process: Process | None
    uid: int | None = None

    @property
    def live_pid(self) -> int | None:
        """Its first process, while it runs."""
        return self.process.pid if self.process and self.process.is_alive() else None

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it has all of these labels."""
        return labels.items() <= self.labels.items()


def process(pid: int) -> Process:
    """The identity of a process; one that is gone already counts as started at 0, which never matches."""
    found = _stat(pid)
    return Process(pid, found[1] if found else 0)


class StateFolder:
    """The records of one driver below `root`."""

    def __init__(self, root: Path) -> None:
        """The folder is made 0700 when the first sandbox is."""
        self._root = root

    def path(self, name: str) -> Path:
        """Folder of one sandbox."""
        return self._root / name

    def add(self, name: str, labels: Mapping[str, str]) -> Path:
        """Make the folder; FileExistsError when the name is taken."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self.path(name)
        folder.mkdir(mode=0o700)
        owner = process(os.getpid())
        state = {"labels": dict(labels), "created_at": time.time(), "owner": [owner.pid, owner.started]}
        (folder / "state.json").write_text(json.dumps(state))
        return folder

    def set_uid(self, name: str, uid: int | None) -> None:
        """Note the uid before anything runs under it."""
        if uid is not None:
            (self.path(name) / "uid").write_text(str(uid))

    def started(self, name: str, pid: int) -> None:
        """Note the first process."""
        found = process(pid)
        (self.path(name) / "pid").write_text(f"{found.pid} {found.started}")

    def remove(self, name: str) -> None:
        """Forget a sandbox; what it had mounted must be unmounted."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path(name))

    def find(self, name: str) -> Record | None:
        """One sandbox; None if it has no folder."""
        with suppress(FileNotFoundError):
            return _record(self.path(name))
        return None

    def records(self) -> Iterator[Record]:
        """Every sandbox that has a folder; a folder without a readable state is one whose maker died at once."""
        if not self._root.is_dir():
            return
        for folder in sorted(self._root.iterdir()):
            with suppress(FileNotFoundError):
                yield _record(folder)


def _record(folder: Path) -> Record:
    try:
        state = json.loads((folder / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return Record(folder.name, {}, folder.stat().st_mtime, Process(0, 0), None)
    pid_file = folder / "pid"
    numbers = pid_file.read_text().split() if pid_file.exists() else []
    found = Process(int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else None
    uid_file = folder / "uid"
    uid = int(uid_file.read_text()) if uid_file.exists() else None
    return Record(folder.name, state["labels"], state["created_at"], Process(*state["owner"]), found, uid)


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time, from after the last parenthesis: a program's name may hold anything."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])
