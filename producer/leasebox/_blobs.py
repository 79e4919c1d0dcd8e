"""How do contents above 256 KiB get into Redis and out of it, a part at a time?"""

from collections.abc import Generator
from typing import Any

from leasebox._content import Uploads
from leasebox._reads import Flow, Query
from leasebox.contract import blobs
from leasebox.contract.errors import FileError
from leasebox.contract.keys import Keys
from leasebox.contract.result import Artifact


def upload(keys: Keys, tenant: str, uploads: Uploads) -> Flow[None]:
    """Write what is not there already; it stays for an hour, and for as long as a job needs it.

    Raises:
        InvalidSpec: A file changed while it was read.
    """
    for blob, source in uploads.items():
        key = keys.blob(blobs.upload(tenant, blob))
        # Written in order, so what has its whole length is complete.
        stay = ("EXPIRE", key, round(blobs.UPLOAD_TTL_S), "GT")
        if (yield Query((blobs.length(key), stay), _first)) == source.size_bytes:
            continue
        at = 0
        for part in source.parts():
            yield Query(blobs.write_part(key, at, part, blobs.UPLOAD_TTL_S), _first)
            at += len(part)


def content(keys: Keys, job: str, artifact: Artifact) -> Flow[bytes]:
    """The bytes of a file that a job left.

    Raises:
        FileError: It is no longer kept.
    """
    return b"".join((yield from _parts(keys.artifact(job, artifact.sha256), artifact)))


def _parts(key: str, artifact: Artifact) -> Generator[Query[Any], Any, list[bytes]]:
    found: list[bytes] = []
    for at in blobs.starts(artifact.size_bytes):
        part: bytes = yield Query((blobs.read_part(key, at),), _first)
        if len(part) != min(blobs.PART_BYTES, artifact.size_bytes - at):
            raise FileError(
                f"{artifact.path} is no longer kept", code="not_found", hint="it goes with the job's result"
            )
        found.append(part)
    return found


def _first(replies: list[Any]) -> Any:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies[0]
