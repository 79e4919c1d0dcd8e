"""Where are the bytes of a file or of standard input, and how do they get into a sandbox a piece at a time?"""

import base64
import binascii
from collections.abc import Iterator

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import FileContent
from leasebox_worker.guestlink.stdin import chunked
from leasebox_worker.lifecycle.blobs import Blobs

Content = FileContent | str | None


def size_of(content: Content, tenant: str, blobs: Blobs) -> int:
    """How many bytes there are.

    Raises:
        InvalidSpec: They are not base64, or the upload is gone or too large.
    """
    if isinstance(content, FileContent) and content.blob is not None:
        return blobs.size_bytes(tenant, content.blob)
    return len(_inline(content))


def pieces_of(content: Content, tenant: str, blobs: Blobs) -> Iterator[bytes]:
    """The bytes in pieces that one STDIN frame carries; at most one part of an upload is held.

    Raises:
        InvalidSpec: As `size_of`.
    """
    if isinstance(content, FileContent) and content.blob is not None:
        for part in blobs.parts(tenant, content.blob, blobs.size_bytes(tenant, content.blob)):
            yield from chunked(part)
    else:
        yield from chunked(_inline(content))


def _inline(content: Content) -> bytes:
    if content is None:
        return b""
    text = content if isinstance(content, str) else content.text
    if text is not None:
        return text.encode(errors="surrogateescape")
    assert isinstance(content, FileContent)
    assert content.base64 is not None
    try:
        return base64.b64decode(content.base64)
    except binascii.Error as exc:
        raise InvalidSpec(f"files: a content is not base64: {exc}") from exc
