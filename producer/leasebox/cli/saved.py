"""How does what a cell showed become text on a terminal, and files in a folder?"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leasebox.contract.result import Result

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
    return plain if isinstance(plain, str) else f"[{', '.join(bundle)}]"


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


def _content(mime: str, part: object) -> bytes:
    if not isinstance(part, str):
        return json.dumps(part).encode()
    if mime not in _BINARY:
        return part.encode()
    try:
        return base64.b64decode(part)
    except ValueError:  # a cell may say anything
        return part.encode()
