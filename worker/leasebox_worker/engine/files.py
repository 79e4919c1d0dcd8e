"""How is a file operation of a session carried out, and how do the files of a job get in before it starts?"""

import json
from collections.abc import Iterator
from dataclasses import replace

from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.files import FileOperation, Verb
from leasebox.contract.result import Artifact, Failure, Outcome, Usage
from leasebox.contract.spec import MAX_INLINE_BYTES, JobSpec
from leasebox_worker.engine import errand
from leasebox_worker.engine.artifacts import OCTETS
from leasebox_worker.engine.attempt import Attempt
from leasebox_worker.engine.contents import pieces_of, size_of
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.left import shown
from leasebox_worker.engine.outcome import Ended
from leasebox_worker.guestlink.link import MAX_ERRAND_STDERR_BYTES
from leasebox_worker.guestlink.messages import Exited
from leasebox_worker.guestlink.orders import packed_files
from leasebox_worker.guestlink.stdin import chunked
from leasebox_worker.lifecycle.blobs import ArtifactWriter
from leasebox_worker.policy.admit import Grant


def put_files(attempt: Attempt, deps: Deps) -> Ended | None:
    """Unpack the job's files; an ending if the workspace did not take them."""
    files, tenant, blobs = attempt.spec.files, attempt.work.tenant, deps.tracker.blobs
    if not files:
        return None
    sizes = {path: size_of(content, tenant, blobs) for path, content in files.items()}
    entries = ((path, sizes[path], pieces_of(content, tenant, blobs)) for path, content in files.items())
    exited, said = errand.run(
        attempt, "put", (), stdin=packed_files(entries), sink=_ignore, most_bytes=MAX_ERRAND_STDERR_BYTES,
        time_s=errand.within_s(sum(sizes.values())),
    )  # fmt: skip
    if exited.code == 0:
        return None
    if exited.is_cancelled:
        return Ended(Outcome.CANCELLED, None, None, None, "cancelled before it started")
    outcome = Outcome.DISK_LIMIT if _is_full(exited, said) else Outcome.REJECTED
    return Ended(outcome, None, None, "disk" if outcome is Outcome.DISK_LIMIT else None, f"files: {said}")


def spec_of_operation(operation: FileOperation, session: str | None) -> JobSpec:
    """What every job has, of an operation: it runs no program, and its outputs are its answer."""
    return JobSpec(command=[operation.verb], session=session)


def grant_of_operation(grant: Grant, operation: FileOperation, work_tenant: str, deps: Deps) -> Grant:
    """An operation has a time by its size, and an answer of one inline content."""
    brought = size_of(operation.content, work_tenant, deps.tracker.blobs)
    most_s = errand.within_s(max(brought, MAX_BLOB_BYTES if operation.verb in _LARGE else 0))
    limits = {"timeout_s": most_s, "output_bytes": MAX_INLINE_BYTES}
    return replace(grant, limits=grant.limits.model_copy(update=limits))


_LARGE = (Verb.READ, Verb.PACK, Verb.EXTRACT)
"""What moves may be much more than what was brought."""


def operate(attempt: Attempt, deps: Deps) -> tuple[Ended, Usage]:
    """Carry a file operation out. A small answer is the Result's stdout, a large one its one artifact."""
    operation, grant = attempt.operation, attempt.grant
    assert operation is not None
    assert grant is not None
    assert grant.limits.timeout_s is not None
    answer = _Answer(attempt, deps)
    kind, argv = _order(operation)
    most_bytes = _most_bytes(operation.verb)
    exited, said = errand.run(
        attempt, kind, argv, stdin=_brought(operation, attempt.work.tenant, deps), sink=answer.add,
        most_bytes=most_bytes, time_s=grant.limits.timeout_s,
    )  # fmt: skip
    ended = _ending(operation, exited, said, most_bytes)
    if ended.outcome is Outcome.OK:
        answer.end(operation.path if operation.path != "." else "answer")
    else:
        answer.drop()
        code, sentence = errand.failure(exited, said, _bound(most_bytes))
        if ended.outcome is Outcome.ERROR:
            attempt.told.error = Failure(name="FileError", message=f"{code} {sentence}")
    attempt.told.interpreter = exited.interpreter
    return ended, Usage(run_s=exited.wall_s, cpu_s=exited.cpu_s, disk_bytes=exited.disk_bytes)


class _Answer:
    """Keeps an answer inline as long as it is small; from then on it goes to Redis as it comes."""

    def __init__(self, attempt: Attempt, deps: Deps) -> None:
        self._attempt = attempt
        self._blobs = deps.tracker.blobs
        self._small = bytearray()
        self._writer: ArtifactWriter | None = None

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._writer is None and len(self._small) + len(data) <= MAX_INLINE_BYTES:
            self._small += data
            return
        if self._writer is None:
            self._writer = self._blobs.writers(self._attempt.work)()
            self._writer.add(bytes(self._small))
            self._small.clear()
        self._writer.add(data)

    def end(self, path: str) -> None:
        """Put it where the Result has it."""
        if self._writer is None:
            self._attempt.publisher.kept["stdout"].add(bytes(self._small))
            return
        written = self._writer.end()
        self._attempt.left.artifacts.append(
            Artifact(path=shown(path), size_bytes=written.size_bytes, sha256=written.sha256, content_type=OCTETS)
        )

    def drop(self) -> None:
        """It is incomplete: nobody may see it."""
        if self._writer is not None:
            self._writer.drop()


def _most_bytes(verb: Verb) -> int:
    if verb is Verb.READ:
        return MAX_BLOB_BYTES
    return MAX_BLOB_BYTES + errand.HEADERS_BYTES if verb is Verb.PACK else errand.ANSWER_BYTES


def _order(operation: FileOperation) -> tuple[str, tuple[str, ...]]:
    """What the agent is told: kind and arguments."""
    match operation.verb:
        case Verb.WRITE | Verb.UNPACK:
            return "put", ()
        case Verb.READ:
            return "get", (operation.path,)
        case Verb.LIST:
            return "file", ("list", operation.path, str(operation.depth))
        case Verb.MOVE:
            return "file", ("move", operation.path, operation.to or "")
        case Verb.PACK:
            return "file", ("pack",)
        case Verb.EXTRACT:
            assert operation.archive is not None
            return "file", ("extract", operation.path, operation.archive)
        case Verb.STAT | Verb.MKDIR | Verb.REMOVE:
            return "file", (operation.verb, operation.path)


def _brought(operation: FileOperation, tenant: str, deps: Deps) -> Iterator[bytes]:
    """What the agent reads on stdin."""
    blobs = deps.tracker.blobs
    match operation.verb:
        case Verb.WRITE:
            size_bytes = size_of(operation.content, tenant, blobs)
            yield from packed_files([(operation.path, size_bytes, pieces_of(operation.content, tenant, blobs))])
        case Verb.UNPACK | Verb.EXTRACT:
            yield from pieces_of(operation.content, tenant, blobs)
        case Verb.PACK:
            yield from chunked(json.dumps(operation.paths).encode())


def _ending(operation: FileOperation, exited: Exited, said: str, most_bytes: int) -> Ended:
    if exited.is_cancelled:
        return Ended(Outcome.CANCELLED, exited.code, exited.signal, None, "cancelled")
    if exited.code == 0 and exited.limit is None:
        return Ended(Outcome.OK, 0, None, None, "")
    code, sentence = errand.failure(exited, said, _bound(most_bytes))
    return Ended(Outcome.ERROR, exited.code, exited.signal, None, f"{operation.verb}: {code} {sentence}")


def _bound(most_bytes: int) -> str:
    return f"there are more than {most_bytes} bytes"


def _is_full(exited: Exited, said: str) -> bool:
    return exited.is_disk_full or "No space left" in said


def _ignore(_: bytes) -> None:
    """An errand that answers nothing."""
