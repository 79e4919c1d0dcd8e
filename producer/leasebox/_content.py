"""How what a caller gives as a file or stdin (str, bytes, Path) becomes `FileContent`; large ones become uploads."""

import base64
import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from leasebox.contract.blobs import MAX_BLOB_BYTES, PART_BYTES
from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import MAX_INLINE_BYTES, FileContent

Given = str | bytes | Path | FileContent | Mapping[str, str]
"""What a caller may give for one file; a mapping is the JSON form {"text"}, {"base64"} or {"blob"}."""


class Source(Struct, frozen=True):
    """A content that is uploaded; `parts` begins anew with each call and gives at most `PART_BYTES` at a time."""

    size_bytes: int
    parts: Callable[[], Iterator[bytes]]

    def sha256(self) -> str:
        """Its id as an upload; reads all of it."""
        digest = hashlib.sha256()
        for part in self.parts():
            digest.update(part)
        return digest.hexdigest()


Uploads = dict[str, Source]
"""What must be uploaded before a request, by id."""


def file_content(name: str, given: object, uploads: Uploads | None = None) -> object:
    """Turn one given file into what `JobSpec` takes; anything unknown passes, for the spec to refuse.

    Args:
        uploads: Takes what is above 256 KiB; None = that is refused.

    Raises:
        InvalidSpec: The path cannot be read, the content is too large, or a text holds what is no character.
    """
    if isinstance(given, str) and is_utf8(given) and len(given) * 4 <= MAX_INLINE_BYTES:
        return {"text": given}
    if isinstance(given, str):
        given = encoded(name, given)
    if isinstance(given, Path):
        return _of_source(name, path_source(name, given), uploads)
    if uploads is not None and isinstance(given, Mapping) and (large := _large(given)) is not None:
        return _of_source(name, bytes_source(large), uploads)
    if isinstance(given, Source):
        return _of_source(name, given, uploads)
    if isinstance(given, bytes | bytearray | memoryview):
        return _of_source(name, bytes_source(bytes(given)), uploads)
    return given.model_dump(exclude_none=True) if isinstance(given, FileContent) else given


def stdin_content(given: object, uploads: Uploads | None = None) -> object:
    """Turn the given stdin into what `JobSpec` takes: text stays text, bytes become text or base64.

    Raises:
        InvalidSpec: As for `file_content`.
    """
    content = file_content("stdin", given, uploads) if given is not None else None
    if isinstance(content, dict) and set(content) == {"text"}:
        return content["text"]
    return content


def bytes_source(data: bytes) -> Source:
    """A content that is in memory."""
    return Source(len(data), lambda: (data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)))


def path_source(name: str, path: Path) -> Source:
    """A content that is read from disk a part at a time; what does not say how much it holds is read at once.

    Raises:
        InvalidSpec: It cannot be read; also later, if it changes its size while it is.
    """
    try:
        about = path.stat()
        size_bytes = about.st_size
        if not (stat.S_ISREG(about.st_mode) and size_bytes):
            # A pipe, which can be read once, a device, or a file of /proc, all of which are empty by their size.
            with path.open("rb") as stream:
                return bytes_source(stream.read(MAX_BLOB_BYTES + 1))
    except OSError as exc:
        raise InvalidSpec(f"{name}: cannot read {path}: {exc.strerror}") from exc

    def _parts() -> Iterator[bytes]:
        left = size_bytes
        try:
            with path.open("rb") as stream:
                while left > 0 and (part := stream.read(min(left, PART_BYTES))):
                    left -= len(part)
                    yield part
        except OSError as exc:
            raise InvalidSpec(f"{name}: cannot read {path}: {exc.strerror}") from exc
        if left:
            raise InvalidSpec(f"{name}: {path} became shorter while it was read")

    return Source(size_bytes, _parts)


def _of_source(name: str, source: Source, uploads: Uploads | None) -> dict[str, str]:
    bound = MAX_INLINE_BYTES if uploads is None else MAX_BLOB_BYTES
    if source.size_bytes > bound:
        raise InvalidSpec(f"{name}: {source.size_bytes} bytes, at most {bound} are accepted")
    if source.size_bytes <= MAX_INLINE_BYTES or uploads is None:
        return from_bytes(b"".join(source.parts()))
    blob = source.sha256()
    uploads[blob] = source
    return {"blob": blob}


def from_bytes(data: bytes) -> dict[str, str]:
    """The JSON form of a small content."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _large(given: Mapping[object, object]) -> bytes | None:
    """The content of the JSON form if it is above 256 KiB; what is wrong with it is for the spec to say."""
    try:
        match dict(given):
            case {"text": str(text), **rest} if not rest:
                data = text.encode(errors="surrogateescape")
            case {"base64": str(text), **rest} if not rest:
                data = base64.b64decode(text, validate=True)
            case _:
                return None
    except ValueError:
        return None
    return data if len(data) > MAX_INLINE_BYTES else None


def encoded(name: str, text: str) -> bytes:
    """Text as bytes; what `os.fsdecode` made of a byte becomes that byte again.

    Raises:
        InvalidSpec: It holds half a character.
    """
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidSpec(f"{name}: must be text in UTF-8") from None


def is_utf8(text: str) -> bool:
    """Whether it holds characters alone: JSON can also tell half of one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
