"""How does a worker read what was uploaded for a job, and write what a job leaves, without ever holding all of it?"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from leasebox.contract import blobs
from leasebox.contract.errors import BrokerUnavailable, InvalidSpec
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox.contract.scripts.answers import Work


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer has written."""

    size_bytes: int
    sha256: str


class Blobs:
    """The contents that stand in Redis beside the records; each call waits for Redis as the runner does."""

    def __init__(self, runner: Runner, keys: Keys) -> None:
        self._runner = runner
        self._keys = keys

    def size_bytes(self, tenant: str, blob: str) -> int:
        """Of an upload.

        Raises:
            InvalidSpec: It is not there, or too large.
        """
        (found,) = self._runner.send([blobs.length(self._keys.blob(blobs.upload(tenant, blob)))])
        if not 0 < found <= blobs.MAX_BLOB_BYTES:
            raise InvalidSpec(
                f"upload {blob} has {found} bytes, of 1 to {blobs.MAX_BLOB_BYTES}", hint="upload it again"
            )
        return int(found)

    def parts(self, tenant: str, blob: str, size_bytes: int) -> Iterator[bytes]:
        """The content of an upload, a part at a time.

        Raises:
            InvalidSpec: It went away meanwhile.
        """
        key = self._keys.blob(blobs.upload(tenant, blob))
        for at in blobs.starts(size_bytes):
            (part,) = self._runner.send([blobs.read_part(key, at)])
            if len(part) != min(blobs.PART_BYTES, size_bytes - at):
                raise InvalidSpec(f"upload {blob} is gone", hint="upload it again")
            yield part

    def writers(self, work: Work) -> "Callable[[], ArtifactWriter]":
        """What makes a writer for each file that a job leaves; they live as long as the job's Result."""
        (found,) = self._runner.send([("HGET", self._keys.job(work.job), "result_ttl_s")])
        ttl_s = float(found or blobs.UPLOAD_TTL_S)
        return lambda: ArtifactWriter(self._runner, self._keys, work, ttl_s)


class ArtifactWriter:
    """Writes one file under the writer's lease, and gives it the name of its content when all of it is there.

    Two holders of one job cannot mix: each writes apart, and what has the same name is the same.
    """

    def __init__(self, runner: Runner, keys: Keys, work: Work, ttl_s: float) -> None:
        self._runner = runner
        self._keys = keys
        self._job = work.job
        self._partial = keys.artifact(work.job, work.lease)
        self._ttl_s = ttl_s
        self._pending = bytearray()
        self._digest = hashlib.sha256()
        self._written_bytes = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes; whole parts are sent.

        Raises:
            BrokerUnavailable: Redis has lost what was written before; nothing is left of it.
        """
        self._digest.update(data)
        self._pending += data
        while len(self._pending) >= blobs.PART_BYTES:
            self._send(blobs.PART_BYTES)

    def end(self) -> Written:
        """Send the rest, and let readers find it. Raises as `add`."""
        written = Written(self._written_bytes + len(self._pending), self._digest.hexdigest())
        target = self._keys.artifact(self._job, written.sha256)
        if not self._written_bytes:
            ttl_s = max(1, round(self._ttl_s))
            self._runner.send([("SET", target, bytes(self._pending), "EX", ttl_s)])
            return written
        if self._pending:
            self._send(len(self._pending))
        try:
            self._runner.send([("RENAME", self._partial, target)])
        except redis.ResponseError as exc:  # no such key: the answer to the first try was lost
            if not self._runner.send([("EXISTS", target)])[0]:
                raise BrokerUnavailable("Redis has lost a file that was being written") from exc
        return written

    def drop(self) -> None:
        """Forget what was written."""
        self._runner.send([("DEL", self._partial)])

    def _send(self, size_bytes: int) -> None:
        part = bytes(self._pending[:size_bytes])
        del self._pending[:size_bytes]
        older = () if self._written_bytes else (("DEL", self._partial),)
        parts = blobs.write_part(self._partial, self._written_bytes, part, self._ttl_s)
        if self._runner.send((*older, *parts))[len(older)] < self._written_bytes:
            self.drop()
            raise BrokerUnavailable("Redis has lost the beginning of a file")
        self._written_bytes += size_bytes
