"""How does a part of a display that is too large for its bundle become an artifact of the Result? As it comes."""

import mimetypes
from collections.abc import Callable, Collection, Sequence

from leasebox.contract.result import Artifact
from leasebox_worker.guestlink.messages import ApartPart
from leasebox_worker.lifecycle.blobs import ArtifactWriter, Written

_ENDINGS = {"text/latex": ".tex", "text/markdown": ".md"}
"""Of types that not every machine knows."""


class Apart:
    """What came before the bundle that it belongs to; memory stays below that of one part of an artifact."""

    def __init__(self) -> None:
        self._open: ArtifactWriter | None = None
        self._begin: Callable[[], ArtifactWriter] | None = None
        self._written: list[Written] = []

    def add(self, part: ApartPart, writers: Callable[[], Callable[[], ArtifactWriter]]) -> None:
        """Take the next bytes.

        Args:
            writers: Finds out how artifacts of this job are written; called once.
        """
        if self._begin is None:
            self._begin = writers()
        if self._open is None:
            self._open = self._begin()
        self._open.add(part.data)
        if part.is_last:
            self._written.append(self._open.end())
            self._open = None

    def take(self, types: Sequence[str], number: int, taken: Collection[str]) -> dict[str, Artifact]:
        """The artifacts of a bundle by MIME type, in the order in which they came; none if that was not as it says.

        Args:
            types: Of its parts that came before it.
            number: Its place among the job's results, from 1.
            taken: Paths that other artifacts have.
        """
        written, self._written = self._written, []
        if len(written) != len(types):
            return {}  # a cell may say anything
        found: dict[str, Artifact] = {}
        for mime, one in zip(types, written, strict=True):
            path = _path(mime, number, {*taken, *(artifact.path for artifact in found.values())})
            found[mime] = Artifact(path=path, size_bytes=one.size_bytes, sha256=one.sha256, content_type=mime)
        return found

    def end(self) -> None:
        """The cell has ended: what is incomplete is forgotten."""
        if self._open is not None:
            self._open.drop()
            self._open = None


def _path(mime: str, number: int, taken: Collection[str]) -> str:
    """As `leasebox run --out` names what a cell shows."""
    kind = mime.partition(";")[0]
    ending = _ENDINGS.get(kind) or mimetypes.guess_extension(kind) or ".bin"
    path, more = f"result-{number}{ending}", 1
    while path in taken:
        more += 1
        path = f"result-{number}-{more}{ending}"
    return path
