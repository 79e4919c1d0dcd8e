"""What is each operation on a session's files: what is asked of the worker, and what does its answer mean?"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct

from leasebox._backend import Backend, Flow
from leasebox._content import Source, Uploads, bytes_source, encoded, file_content, path_source
from leasebox._ids import new_job_id
from leasebox._message import Template
from leasebox._sessions import SessionPlan
from leasebox.config import ClientSettings
from leasebox.contract import CONTRACT_VERSION, blobs
from leasebox.contract.error_codes import FILE_CODES
from leasebox.contract.errors import FileError
from leasebox.contract.files import MAX_DEPTH, OPERATION_TTL_S, Entry, FileOperation, Verb, operation_json
from leasebox.contract.queues import Priority, shared
from leasebox.contract.result import Outcome, Result
from leasebox.contract.scripts.client import NewJob
from leasebox.contract.spec import Kind, workspace_path
from leasebox.contract.telemetry import traces

A = TypeVar("A")
EVENTS_TTL_S = 60.0
_NAME = "file"


@dataclass(frozen=True, slots=True)
class Request(Generic[A]):
    """One operation, what must be uploaded for it, and what its answer means."""

    operation: FileOperation
    parse: Callable[[bytes], A]
    uploads: Uploads = field(default_factory=dict)


class Packed(Struct, frozen=True):
    """One file of several that came together."""

    path: str
    mode: int
    data: bytes


def write(path: str, data: str | bytes | Path) -> Request[None]:
    """Put one file.

    Raises:
        FileError: The path leads out of the workspace, or there are more than 100 MiB.
        InvalidSpec: A text holds half a character, or a Path cannot be read.
    """
    source = _source(path, data)
    if source.size_bytes > blobs.MAX_BLOB_BYTES:
        raise FileError(
            f"{path}: {source.size_bytes} bytes, at most {blobs.MAX_BLOB_BYTES} are accepted", code="too_large"
        )
    return _bringing(Verb.WRITE, _named(path), source)


def unpack(source: Source) -> Request[None]:
    """Put many files that stand one behind the other in the guest's own form."""
    return _bringing(Verb.UNPACK, ".", source)


def read(path: str) -> Request[bytes]:
    """Get one file.

    Raises:
        FileError: The path leads out of the workspace.
    """
    return Request(FileOperation(verb=Verb.READ, path=_named(path)), bytes)


def pack(paths: Sequence[str]) -> Request[Sequence[Packed]]:
    """Get many files."""
    wanted = frozenset(paths)
    operation = FileOperation(verb=Verb.PACK, paths=list(paths))
    return Request(operation, lambda data: [one for one in _unpacked(data) if one.path in wanted])


def list_entries(path: str, depth: int) -> Request[list[Entry]]:
    """What stands below a folder.

    Raises:
        FileError: As `read`; or the depth is none of 1 to 64.
    """
    if not 1 <= depth <= MAX_DEPTH:
        raise FileError(f"depth: {depth} is none of 1 to {MAX_DEPTH}")
    operation = FileOperation(verb=Verb.LIST, path=_below(path), depth=depth)
    return Request(operation, lambda data: [Entry.model_validate(entry) for entry in json.loads(data)])


def stat(path: str) -> Request[Entry]:
    """What is known of one name; raises as `read`."""
    operation = FileOperation(verb=Verb.STAT, path=_below(path))
    return Request(operation, lambda data: Entry.model_validate(json.loads(data)))


def mkdir(path: str) -> Request[None]:
    """Make a folder; raises as `read`."""
    return Request(FileOperation(verb=Verb.MKDIR, path=_below(path)), _nothing)


def move(path: str, to: str) -> Request[None]:
    """Give a file or folder another name; raises as `read`."""
    return Request(FileOperation(verb=Verb.MOVE, path=_named(path), to=_named(to)), _nothing)


def remove(path: str) -> Request[None]:
    """Remove a file, or a folder with all that is in it; raises as `read`."""
    return Request(FileOperation(verb=Verb.REMOVE, path=_named(path)), _nothing)


def record(
    operation: FileOperation, plan: SessionPlan, settings: ClientSettings, template: Template, key: str | None = None
) -> NewJob:
    """The record of an operation, a job of its session's line.

    Args:
        key: Of idempotency: a repeat in the same session is the same job, for as long as that is kept.
    """
    job, data = new_job_id(), operation_json(operation)
    wake = template.fill(job, shared(Priority.DEFAULT), _NAME, f"tenant={settings.tenant} session={plan.name}")
    made = NewJob(
        job=job,
        kind=Kind.FILE,
        tenant=settings.tenant,
        session=plan.name,
        profile=plan.profile,
        priority=Priority.DEFAULT,
        spec=data,
        digest=hashlib.sha256(json.dumps([plan.name, plan.profile]).encode() + data).hexdigest(),
        idempotency_key=key,
        blobs=tuple(blobs.upload(settings.tenant, blob) for blob in operation.blobs),
        result_ttl_s=OPERATION_TTL_S,
        events_ttl_s=EVENTS_TTL_S,
        wake_head=wake.head,
        wake_tail=wake.tail,
        contract_version=str(CONTRACT_VERSION),
        display_name=_NAME,
        traceparent=traces.traceparent(),
    )
    return plan.onto(made)


def answer(backend: Backend[Any], result: Result) -> Flow[bytes]:
    """The answer that a Result holds, or leads to.

    Raises:
        FileError: The operation failed.
        JobFailed: It was not carried out.
    """
    if result.outcome is not Outcome.OK:
        raise _failed(result)
    if result.artifacts:
        return (yield from backend.content(result.job, result.artifacts[0]))
    return result.stdout_bytes


def is_not_found(error: FileError) -> bool:
    """Whether there is nothing of that name."""
    return error.code == "not_found"


def _failed(result: Result) -> Exception:
    if result.error is not None and result.error.name == "FileError":
        code, _, sentence = result.error.message.partition(" ")
        return FileError(sentence, code=code if code in FILE_CODES else "file_error")
    try:
        result.raise_for_outcome()
    except Exception as exc:  # noqa: BLE001 - it is the error of that outcome, whichever
        return exc
    raise AssertionError("an operation that is ok has not failed")


def _bringing(verb: Verb, path: str, given: Source) -> Request[None]:
    uploads: Uploads = {}
    content = file_content(path, given, uploads)
    return Request(FileOperation.model_validate({"verb": verb, "path": path, "content": content}), _nothing, uploads)


def _unpacked(data: bytes) -> Iterator[Packed]:
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        header = json.loads(data[at + 4 : end])
        at = end + header["size"]
        yield Packed(header["path"], header["mode"] & 0o777, data[end:at])


def _below(path: str) -> str:
    try:
        return workspace_path(path)
    except ValueError as exc:
        raise FileError(f"{path!r}: {exc}", code="outside_workspace") from exc


def _named(path: str) -> str:
    found = _below(path)
    if found == ".":
        raise FileError(f"{path!r} is the workspace itself", code="not_a_file")
    return found


def _source(path: str, data: str | bytes | Path) -> Source:
    if isinstance(data, Path):
        return path_source(path, data)
    return bytes_source(encoded("data", data) if isinstance(data, str) else bytes(data))


def _nothing(_: bytes) -> None:
    return None
