"""Routes of files: uploads, what a job left, and what is in a session."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends, Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leasebox import _artifacts, _blobs, _files
from leasebox._sessions import SessionPlan
from leasebox.contract.errors import InvalidSpec, StreamTimeout, WrongState
from leasebox.contract.files import MAX_DEPTH, Archive, Entry, FileOperation, Verb
from leasebox.contract.result import Artifact, Result
from leasebox.contract.spec import PositiveSeconds, ProfileName
from leasebox.server.bodies import StrictRoute
from leasebox.server.jobs import job_within
from leasebox.server.models import BODY, MAX_WAIT_S, Blob, Documented, Job, JobId, Name, answer, problems
from leasebox.server.service import Desk, ReadJobs, WriteJobs, WriteSessionJobs
from leasebox.server.uploads import receive, received_content

router = APIRouter(tags=["files"])
operations = APIRouter(tags=["files"], route_class=StrictRoute)
OCTETS = "application/octet-stream"
_RAW: dict[str, Any] = {
    "requestBody": {"required": True, "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
}
_BYTES: Documented = {200: {"description": "The content.", "content": {OCTETS: {"schema": {"format": "binary"}}}}}
_FAILED = (404, 409, 410, 413, 422, 429, 500, 504, 507)


def _named(
    request: Request, path: Annotated[str, Path(min_length=1, max_length=1024, description="Path in /workspace.")]
) -> str:
    """The path of a request.

    Raises:
        InvalidSpec: It is not UTF-8: with U+FFFD for what is wrong, as ASGI has it, many names would be one.
    """
    try:
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode()
    except UnicodeDecodeError:
        raise InvalidSpec("path: not UTF-8") from None
    return path


FilePath = Annotated[str, Depends(_named)]
RepeatKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="A repeat is answered as the first was."),
]


@router.post("/v1/blobs", status_code=201, response_model=Blob, responses=problems(*BODY), openapi_extra=_RAW)
async def upload(request: Request, desk: WriteJobs) -> Response:
    """Upload a content for `{"blob": id}`; it stays for an hour, and for as long as a job needs it."""
    received = await receive(desk, request)
    desk.notes["target"] = received.id
    return answer(received, 201)


@router.get("/v1/jobs/{job}/artifacts/{path:path}", response_model=None, responses=_BYTES | problems(404, 409, 422))
async def get_artifact(job: JobId, path: FilePath, desk: ReadJobs) -> Response:
    """The content of a file that a job left."""
    result = await desk.run(desk.backend.result(job))
    if result is None:
        raise WrongState(f"job {job} has not ended")
    artifact = _artifacts.named(result, path)
    await desk.run(_blobs.check(desk.backend.keys, job, artifact))
    return _attached(_streamed(desk, job, artifact, artifact.content_type), artifact.path)


@operations.post(
    "/v1/sessions/{name}/files", status_code=202, response_model=Job, responses=problems(*BODY, 409, 410, 429)
)
async def operate(
    name: Name,
    operation: FileOperation,
    desk: WriteSessionJobs,
    profile: Annotated[ProfileName | None, Query(description="Of the session, if this makes it.")] = None,
    idle_timeout_s: Annotated[PositiveSeconds | None, Query(description="Of the session, if this makes it.")] = None,
    max_age_s: Annotated[PositiveSeconds | None, Query(description="Of the session, if this makes it.")] = None,
    key: RepeatKey = None,
) -> Response:
    """Queue an operation on a session's files; its answer is the Result's stdout, a large one its artifact."""
    plan = SessionPlan(name, profile, idle_timeout_s, max_age_s)
    made = await desk.run(desk.backend.operate(operation, plan, {}, key))
    desk.notes.update(target=f"{name}/{operation.path}", verb=operation.verb.value)
    job = await job_within(desk, made.job, 0.0, existing=made.is_existing)
    return answer(job, 202, {"Location": f"/v1/jobs/{made.job}"})


@operations.get("/v1/sessions/{name}/files", response_model=list[Entry], responses=problems(*_FAILED))
async def list_files(
    name: Name,
    desk: WriteSessionJobs,
    path: Annotated[str, Query(min_length=1, max_length=1024, description="Folder in /workspace.")] = ".",
    depth: Annotated[int, Query(ge=1, le=MAX_DEPTH, description="How many levels deep.")] = 1,
) -> Response:
    """What is in a folder of a session."""
    asked = _files.list_entries(path, depth)
    told = asked.parse(await desk.run(_files.answer(desk.backend, await _done(desk, name, asked.operation))))
    # Names that are not UTF-8 are told escaped.
    text = json.dumps([entry.model_dump(mode="json") for entry in told], ensure_ascii=True)
    return Response(text, media_type="application/json")


@router.get("/v1/sessions/{name}/files/{path:path}", response_model=None, responses=_BYTES | problems(*_FAILED))
async def read_file(name: Name, path: FilePath, desk: WriteSessionJobs) -> Response:
    """The content of a file of a session."""
    result = await _done(desk, name, _files.read(path).operation)
    if result.ok and result.artifacts:
        return _attached(_streamed(desk, result.job, result.artifacts[0], OCTETS), path)
    return _attached(Response(await desk.run(_files.answer(desk.backend, result)), media_type=OCTETS), path)


@router.put(
    "/v1/sessions/{name}/files/{path:path}",
    status_code=204,
    response_model=None,
    responses=problems(400, 408, 415, *_FAILED),
    openapi_extra=_RAW,
)
async def write_file(
    name: Name,
    path: FilePath,
    request: Request,
    desk: WriteSessionJobs,
    extract: Annotated[Archive | None, Query(description="Unpack the body into the folder `path`.")] = None,
    key: RepeatKey = None,
) -> Response:
    """Put a file into a session; or, with `extract`, all that an archive holds, or nothing of it."""
    checked = _files.stat(path).operation.path if extract else _files.read(path).operation.path
    content = await received_content(desk, request)
    verb = Verb.EXTRACT if extract else Verb.WRITE
    operation = FileOperation(verb=verb, path=checked, content=content, archive=extract)
    await desk.run(_files.answer(desk.backend, await _done(desk, name, operation, key)))
    return Response(status_code=204)


@router.delete(
    "/v1/sessions/{name}/files/{path:path}", status_code=204, response_model=None, responses=problems(*_FAILED)
)
async def remove_file(name: Name, path: FilePath, desk: WriteSessionJobs, key: RepeatKey = None) -> Response:
    """Remove a file of a session, or a folder with all that is in it."""
    await desk.run(_files.answer(desk.backend, await _done(desk, name, _files.remove(path).operation, key)))
    return Response(status_code=204)


async def _done(desk: Desk, name: str, operation: FileOperation, key: str | None = None) -> Result:
    """Carry an operation out and wait for it.

    Raises:
        UnknownSession: Nothing but a write or an archive makes a session.
        StreamTimeout: The jobs before it take longer than a request may.
    """
    if operation.verb not in (Verb.WRITE, Verb.EXTRACT):
        await desk.run(desk.backend.session(name))
    made = await desk.run(desk.backend.operate(operation, SessionPlan(name), {}, key))
    job = await job_within(desk, made.job, MAX_WAIT_S)
    if job.result is None:
        raise StreamTimeout(f"job {made.job} did not end within {MAX_WAIT_S:g} s; it goes on")
    return job.result


def _streamed(desk: Desk, job: str, artifact: Artifact, media_type: str) -> Response:
    # With its length, whoever gets less of it knows, whatever is between.
    length = {"Content-Length": str(artifact.size_bytes)}
    return StreamingResponse(_parts(desk, job, artifact), headers=length, media_type=media_type)


async def _parts(desk: Desk, job: str, artifact: Artifact) -> AsyncIterator[bytes]:
    for step in _blobs.part_flows(desk.backend.keys, job, artifact):
        yield await desk.run(step)


def _attached(response: Response, path: str) -> Response:
    """What a sandbox wrote is saved by a browser, never shown as a page of ours."""
    name = quote(path.rpartition("/")[2], safe="", errors="replace")
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox"
    return response
