"""How do contents above 256 KiB get into Redis and out of it, a part at a time?"""

from collections.abc import Iterator
from typing import Any

from leasebox._content import Uploads, from_bytes
from leasebox._reads import Flow, Query
from leasebox.contract import blobs
from leasebox.contract.errors import BrokerUnavailable, FileError
from leasebox.contract.keys import Keys
from leasebox.contract.result import Artifact
from leasebox.contract.spec import FileContent


def upload(keys: Keys, tenant: str, uploads: Uploads) -> Flow[None]:
    """Write what is not there already; it stays for an hour, and for as long as a job needs it.

    Raises:
        InvalidSpec: A file changed while it was read.
    """
    for blob, source in uploads.items():
        key = keys.blob(blobs.upload(tenant, blob))
        # Written in order, so what has its whole length is complete.
        if (yield _kept(key)) == source.size_bytes:
            continue
        at = 0
        for part in source.parts():
            yield from write(key, at, part)
            at += len(part)


def write(key: str, at: int, part: bytes) -> Flow[None]:
    """Write one part of an upload.

    Raises:
        BrokerUnavailable: Redis has lost what was written before; nothing is left of it.
    """
    if (yield Query(blobs.write_part(key, at, part, blobs.UPLOAD_TTL_S), _first)) < at:
        yield from drop(key)
        raise BrokerUnavailable("Redis has lost the beginning of an upload", hint="upload it again")


def settle(partial: str, key: str, size_bytes: int) -> Flow[None]:
    """Give a whole content its name; one that is there already and whole stays, for a job may need it."""
    if (yield _kept(key)) == size_bytes:
        yield from drop(partial)
    else:
        yield Query((("RENAME", partial, key),), _first)


def drop(key: str) -> Flow[None]:
    """Forget a content."""
    yield Query((("DEL", key),), _first)


def inline(data: bytes) -> FileContent:
    """A small content as it travels in a record."""
    return FileContent.model_validate(from_bytes(data))


def content(keys: Keys, job: str, artifact: Artifact) -> Flow[bytes]:
    """The bytes of a file that a job left.

    Raises:
        FileError: It is no longer kept.
    """
    found = []
    for step in part_flows(keys, job, artifact):
        found.append((yield from step))
    return b"".join(found)


def part_flows(keys: Keys, job: str, artifact: Artifact) -> Iterator[Flow[bytes]]:
    """A flow for each part of a file that a job left. Each raises as `content`."""
    key = keys.artifact(job, artifact.sha256)
    for at in blobs.starts(artifact.size_bytes):
        yield _part(key, at, artifact)


def check(keys: Keys, job: str, artifact: Artifact) -> Flow[None]:
    """Make sure that a file that a job left is kept.

    Raises:
        FileError: It is not.
    """
    if (yield Query((("EXISTS", keys.artifact(job, artifact.sha256)),), _first)) == 0:
        raise _gone(artifact)


def _part(key: str, at: int, artifact: Artifact) -> Flow[bytes]:
    part: bytes = yield Query((blobs.read_part(key, at),), _first)
    if len(part) != min(blobs.PART_BYTES, artifact.size_bytes - at):
        raise _gone(artifact)
    return part


def _gone(artifact: Artifact) -> FileError:
    return FileError(f"{artifact.path} is no longer kept", code="not_found", hint="it goes with the job's result")


def _kept(key: str) -> Query[Any]:
    """How many bytes there are, after making sure that they stay for an hour."""
    return Query((blobs.length(key), ("EXPIRE", key, round(blobs.UPLOAD_TTL_S), "GT")), _first)


def _first(replies: list[Any]) -> Any:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies[0]
