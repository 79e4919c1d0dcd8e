"""How does what a cell showed become text on a terminal, and files in a folder?"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from leasebox.contract.errors import FileError
from leasebox.contract.result import ARTIFACTS_MIME, Result

_ENDINGS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/svg+xml": ".svg",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/latex": ".tex",
    "application/json": ".json",
}
_BINARY = ("image/png", "image/jpeg")


def as_text(bundle: Mapping[str, Any]) -> str:
    """The plain form of what was shown; without one, its types."""
    plain = bundle.get("text/plain")
    if isinstance(plain, str):
        return plain
    inline = [mime for mime in bundle if mime != ARTIFACTS_MIME]
    apart = bundle.get(ARTIFACTS_MIME) or {}
    return f"[{', '.join([*inline, *(f'{mime}: {path}' for mime, path in apart.items())])}]"


def save(result: Result, folder: Path) -> list[Path]:
    """Write each form of each result that is more than plain text as `result-N.EXT`; the files, in order."""
    written: list[Path] = []
    for number, bundle in enumerate(result.results, 1):
        for mime, ending in _ENDINGS.items():
            if mime in bundle:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"result-{number}{ending}"
                path.write_bytes(_content(mime, bundle[mime]))
                written.append(path)
    return written


def save_artifacts(result: Result, folder: Path, read: Callable[[str], bytes]) -> Iterator[Path]:
    """Write the files that a job left below `folder`, each under its own path; gives each as it is written.

    Raises:
        FileError: One is no longer kept, or its path leads elsewhere: it is the word of a sandbox.
    """
    for artifact in result.artifacts:
        told = PurePosixPath(artifact.path)
        if told.is_absolute() or ".." in told.parts:
            raise FileError(f"{artifact.path!r} leads out of the folder", code="outside_workspace")
        path = folder / told
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read(artifact.path))
        yield path


def _content(mime: str, part: object) -> bytes:
    if not isinstance(part, str):
        return json.dumps(part).encode()
    if mime not in _BINARY:
        return part.encode()
    try:
        return base64.b64decode(part)
    except ValueError:  # a cell may say anything
        return part.encode()
