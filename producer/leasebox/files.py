"""The files of a session, read, written and moved about in the order of its jobs."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from leasebox import _files, _folders
from leasebox._sessions import SessionPlan
from leasebox._traced import submitting
from leasebox.contract.errors import FileError
from leasebox.contract.files import MAX_DEPTH, Entry

if TYPE_CHECKING:
    from leasebox.client import Client

A = TypeVar("A")


class Files:
    """What is in a session's workspace; made by `Session`.

    Each operation is a job of the session: it waits for the jobs before it, makes the sandbox if there is none, and
    counts as activity. Paths are relative to /workspace or absolute below it; links are told, never followed.

    Every method raises `FileError` (`code`: not_found, too_large, not_a_file, outside_workspace), `QueueError`, and
    `JobFailed` where the machinery failed.
    """

    def __init__(self, client: "Client", plan: SessionPlan) -> None:
        self._client = client
        self._plan = plan

    def write(self, path: str, data: str | bytes | Path) -> None:
        """Put a file of at most 100 MiB, whole or not at all; missing folders are made, a file there is replaced.

        Raises:
            InvalidSpec: A text holds half a character, or a `Path` cannot be read.
        """
        self._do(_files.write(path, data))

    @overload
    def read(self, path: str, *, text: Literal[False] = False) -> bytes:
        """The content of a regular file of at most 100 MiB, as it is."""

    @overload
    def read(self, path: str, *, text: Literal[True]) -> str:
        """The content of a regular file of at most 100 MiB, decoded as UTF-8."""

    def read(self, path: str, *, text: bool = False) -> bytes | str:
        """The content of a regular file of at most 100 MiB; `text`: decoded as UTF-8."""
        data = self._do(_files.read(path))
        return data.decode() if text else data

    def list(self, path: str = ".", depth: int = 1) -> list[Entry]:
        """What stands in a folder, so many levels deep (at most 64); of a file, that itself."""
        return self._do(_files.list_entries(path, depth))

    def stat(self, path: str) -> Entry:
        """What is known of one name."""
        return self._do(_files.stat(path))

    def exists(self, path: str) -> bool:
        """Whether there is anything of that name, be it a link that leads nowhere."""
        try:
            self.stat(path)
        except FileError as exc:
            if _files.is_not_found(exc):
                return False
            raise
        return True

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it; one that is there is left alone."""
        self._do(_files.mkdir(path))

    def move(self, path: str, to: str) -> None:
        """Give a file or folder another path; missing folders are made, a file there is replaced."""
        self._do(_files.move(path, to))

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        self._do(_files.remove(path))

    def upload_dir(self, source: str | Path, path: str = ".") -> None:
        """Put all files and folders below `source` under `path`; small files travel together.

        Raises:
            InvalidSpec: A file cannot be read.
        """
        for request in _folders.uploads(Path(source), path):
            self._do(request)

    def download_dir(self, path: str, target: str | Path) -> None:
        """Get all regular files and folders below `path` into `target`; links and what is no file are left out."""
        tree = _folders.Tree(self.list(path, depth=MAX_DEPTH), path, Path(target))
        tree.make_folders()
        for request in tree.requests():
            tree.save(self._do(request))

    def _do(self, request: _files.Request[A]) -> A:
        client = self._client
        with client._held():
            accepted = client._run(
                submitting(
                    client._backend.operate(request.operation, self._plan, request.uploads), session=self._plan.name
                )
            )
        result = client.job(accepted.job)._follow(None, None)
        return request.parse(client._run(_files.answer(client._backend, result)))
