"""How what a caller gives as a file or stdin (str, bytes, Path) becomes `FileContent`."""

import base64
from collections.abc import Mapping
from pathlib import Path

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import MAX_INLINE_BYTES, FileContent

Given = str | bytes | Path | FileContent | Mapping[str, str]
"""What a caller may give for one file; a mapping is the JSON form {"text"}, {"base64"} or {"blob"}."""


def file_content(name: str, given: object) -> object:
    """Turn one given file into what `JobSpec` takes; anything unknown passes, for the spec to refuse.

    Raises:
        InvalidSpec: The path cannot be read, or the content is above 256 KiB.
    """
    if isinstance(given, Path):
        given = _read(name, given)
    if isinstance(given, str):
        _bounded(name, len(given.encode(errors="surrogateescape")))
        return {"text": given} if _is_clean(given) else _from_bytes(given.encode(errors="surrogateescape"))
    if isinstance(given, bytes | bytearray | memoryview):
        data = bytes(given)
        _bounded(name, len(data))
        return _from_bytes(data)
    return given.model_dump(exclude_none=True) if isinstance(given, FileContent) else given


def stdin_content(given: object) -> object:
    """Turn the given stdin into what `JobSpec` takes: text stays text, bytes become text or base64.

    Raises:
        InvalidSpec: As for `file_content`.
    """
    content = file_content("stdin", given) if given is not None else None
    if isinstance(content, dict) and set(content) == {"text"}:
        return content["text"]
    return content


def _from_bytes(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _is_clean(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(name: str, path: Path) -> bytes:
    try:
        _bounded(name, path.stat().st_size)
        return path.read_bytes()
    except OSError as exc:
        raise InvalidSpec(f"{name}: cannot read {path}: {exc.strerror}") from exc


def _bounded(name: str, size_bytes: int) -> None:
    if size_bytes > MAX_INLINE_BYTES:
        raise InvalidSpec(
            f"{name}: {size_bytes} bytes; a file travels with its job up to {MAX_INLINE_BYTES} bytes, "
            "larger ones cannot be sent yet"
        )
