"""Where does the network of all sandboxes of a worker run? One thread with one loop; a folder a sandbox, a door a job.

The folder is mounted read-only in its sandbox when that is made; the socket in it is there only while a job may use it,
so a sandbox is known by its mount, without any address.
"""

import asyncio
import shutil
import threading
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from leasebox_worker.egress.caps import Caps
from leasebox_worker.egress.door import SOCKET, Door, Room, Traffic, Visit, listen
from leasebox_worker.egress.ways import Ways
from leasebox_worker.telemetry.audit import AuditLog

T = TypeVar("T")

_CONNECTIONS = 200
"""Of the whole worker; 400 descriptors, below half of the usual 1024."""
_ANSWER_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """A door that a job may use; `Egress.shut` closes it."""

    door: Door
    folder: Path


class Egress:
    """The proxy; every method may be called from any thread. The thread starts with the first door."""

    def __init__(
        self, root: Path, *, caps: Caps | None = None, ways: Ways | None = None, audit: AuditLog | None = None
    ) -> None:
        """Makes nothing yet.

        Args:
            root: Folder of this node alone, reachable by every uid; one folder a sandbox is made in it.
            caps: Bounds of each job.
            audit: Takes the refusals down.
            ways: For tests: another resolver, another way to dial. No setting gives them.
        """
        self._root = root
        self._caps = caps or Caps()
        self._ways = ways or Ways()
        self._audit = audit
        self._room = Room(_CONNECTIONS)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def make_folder(self, sandbox: str) -> Path:
        """The folder to mount into a sandbox; open to read, closed to write for all but this user."""
        folder = self._root / sandbox
        for path in (self._root.parent, self._root):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o711)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        return folder

    def has_folder(self, sandbox: str) -> bool:
        """Whether a sandbox was made with a way out."""
        return (self._root / sandbox).is_dir()

    def remove_folder(self, sandbox: str) -> None:
        """Forget a sandbox that is gone; one that had no folder is fine."""
        shutil.rmtree(self._root / sandbox, ignore_errors=True)

    def sweep(self, alive: Iterable[str]) -> None:
        """Remove the folders of sandboxes that are not among `alive`: what a worker that was killed left."""
        kept = set(alive)
        if self._root.is_dir():
            for folder in self._root.iterdir():
                if folder.name not in kept:
                    self.remove_folder(folder.name)

    def open(self, sandbox: str, visit: Visit) -> OpenDoor:
        """Let one job of a sandbox out, until `shut`.

        Raises:
            OSError: The sandbox has no folder.
        """
        folder = self._root / sandbox
        listener = listen(folder)

        async def _make() -> Door:
            return Door(listener, visit, self._caps, self._ways, self._room, self._audit)

        try:
            return OpenDoor(self._run(_make()), folder)
        except BaseException:
            listener.close()
            raise

    def shut(self, opened: OpenDoor) -> Traffic:
        """Cut everything that goes through a door, and say how much it was."""
        (opened.folder / SOCKET).unlink(missing_ok=True)
        return self._run(opened.door.close())

    def close(self) -> None:
        """End the thread; the doors must be shut."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_ANSWER_WITHIN_S)
            loop.close()

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._started_loop()).result(_ANSWER_WITHIN_S)

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="leasebox-egress", daemon=True)
                self._thread.start()
            return self._loop
