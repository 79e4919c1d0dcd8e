"""Routes of jobs: submit, wait, look, list, cancel, forget."""

import asyncio
import base64
import json
import math
import time
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from leasebox import _flows, _submit
from leasebox._flows import JobFilter
from leasebox._reads import Place
from leasebox._sessions import SessionPlan
from leasebox.contract.errors import ConfigError, InvalidSpec
from leasebox.contract.result import JobStatus, Outcome, State
from leasebox.contract.spec import JobSpec, PositiveSeconds, SessionName
from leasebox.contract.standing import Why
from leasebox.server.bodies import SessionRoute, StrictRoute
from leasebox.server.models import (
    BODY,
    Cursor,
    Documented,
    Job,
    JobId,
    JobList,
    Name,
    PageSize,
    Wait,
    answer,
    problems,
    tag_of,
)
from leasebox.server.parameters import Metadata
from leasebox.server.service import Desk, ReadJobs, WriteJobs, WriteSessionJobs

router = APIRouter(tags=["jobs"], route_class=StrictRoute)
session_router = APIRouter(tags=["sessions"], route_class=SessionRoute)
_LOCATION = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}
_ETAG = {"ETag": {"description": "Of this very state of the job.", "schema": {"type": "string"}}}
_ACCEPTED: Documented = {
    200: {"model": Job, "description": "The job had ended before `wait` was over.", "headers": _LOCATION | _ETAG},
    202: {"model": Job, "description": "Queued.", "headers": _LOCATION | _ETAG},
}
_FOUND: Documented = {200: {"headers": _ETAG}, 304: {"description": "As `If-None-Match` knows it."}}
# Output rings often; a waiter for the end looks no more often than this.
_LOOK_S = 0.002
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="The spec's `idempotency_key`: a repeat gives the same job."),
]


@router.post("/v1/jobs", status_code=202, response_model=Job, responses=_ACCEPTED | problems(*BODY, 409, 410, 429))
async def submit_job(
    spec: JobSpec, desk: WriteJobs, wait: Wait = 0.0, idempotency_key: IdempotencyKey = None
) -> Response:
    """Queue a job; with `wait`, answer when it has ended or the time is up."""
    return await _submitted(desk, spec, None, idempotency_key, wait)


@session_router.post(
    "/v1/sessions/{name}/jobs",
    status_code=202,
    response_model=Job,
    responses=_ACCEPTED | problems(*BODY, 409, 410, 429),
)
async def submit_session_job(
    name: Name,
    spec: JobSpec,
    desk: WriteSessionJobs,
    wait: Wait = 0.0,
    idle_timeout_s: Annotated[PositiveSeconds | None, Query(description="Of the session, if the job makes it.")] = None,
    max_age_s: Annotated[PositiveSeconds | None, Query(description="Of the session, if the job makes it.")] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a job of a session; one that has ended begins anew."""
    if spec.session != name:
        raise InvalidSpec(f"session: a job of this session has {name!r}")
    plan = SessionPlan(name, spec.profile, idle_timeout_s, max_age_s)
    return await _submitted(desk, spec, plan, idempotency_key, wait)


async def _submitted(desk: Desk, spec: JobSpec, plan: SessionPlan | None, key: str | None, wait_s: float) -> Response:
    if key is not None:
        if spec.idempotency_key not in (None, key):
            raise InvalidSpec("idempotency_key: differs from the header Idempotency-Key")
        spec = spec.model_copy(update={"idempotency_key": key})
    try:
        checked = _submit.checked(spec, desk.service.settings)
    except ConfigError as exc:
        raise InvalidSpec(exc.detail, hint=exc.hint) from exc
    made = await desk.run(desk.backend.submit(checked, plan))
    desk.notes["target"] = made.job
    if spec.session is not None:
        desk.notes["session"] = spec.session
    desk.rates.submitted(made.pace)
    job = await job_within(desk, made.job, wait_s, existing=made.is_existing)
    status = 200 if wait_s > 0 and job.state is State.FINISHED else 202
    return _answered(job, status, {"Location": f"/v1/jobs/{made.job}"})


@router.get(
    "/v1/jobs/{job}",
    response_model=Job,
    responses=_FOUND | problems(404, 422),
)
async def get_job(
    job: JobId, desk: ReadJobs, wait: Wait = 0.0, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """How a job stands, with its Result once it has ended."""
    return _answered(await job_within(desk, job, wait), 200, {}, if_none_match)


@router.get("/v1/jobs/{job}/why", response_model=Why, responses=problems(404, 422))
async def explain_job(job: JobId, desk: ReadJobs) -> Response:
    """Where a job stands, what it waits for, and what to do about it."""
    return answer(await desk.run(desk.backend.why(job)))


@router.get("/v1/jobs", response_model=JobList, responses=problems(422))
async def list_jobs(
    desk: ReadJobs,
    named: Metadata,
    limit: PageSize = 50,
    cursor: Cursor = None,
    state: Annotated[State | Outcome | None, Query(description="In this state, or with this outcome.")] = None,
    session: Annotated[SessionName | None, Query(description="Of this session.")] = None,
) -> Response:
    """The newest jobs first; `metadata.NAME=VALUE` keeps those with this metadata."""
    wanted = JobFilter(state, session, named)
    page = await desk.run(
        _flows.job_page(desk.backend.keys, desk.tenant, wanted, limit, _place(cursor) if cursor is not None else None)
    )
    return answer(JobList(items=page.jobs, next_cursor=_cursor(page.next) if page.next is not None else None))


@router.post("/v1/jobs/{job}/cancel", status_code=202, response_model=JobStatus, responses=problems(404, 422))
async def cancel_job(job: JobId, desk: WriteJobs) -> Response:
    """Ask for a job's end: a queued one has ended with the answer, a running one ends when its processes are gone."""
    await desk.run(desk.backend.cancel(job))
    return answer(await desk.run(desk.backend.status(job)), 202)


@router.delete("/v1/jobs/{job}", status_code=204, response_model=None, responses=problems(404, 409, 422))
async def forget_job(job: JobId, desk: WriteJobs) -> Response:
    """Forget a finished job with its events and its Result."""
    await desk.run(_flows.erase(desk.backend.keys, desk.tenant, job))
    return Response(status_code=204)


async def job_within(desk: Desk, job: str, wait_s: float, *, existing: bool = False) -> Job:
    """The job now, or at its end if that comes within `wait_s`."""
    deadline = time.monotonic() + wait_s
    with desk.service.watch.on(job) as bell:
        while True:
            count = bell.count
            status = await desk.run(desk.backend.status(job))
            left = deadline - time.monotonic()
            if status.state is State.FINISHED or left <= 0:
                break
            await bell.after(count, left)
            await asyncio.sleep(_LOOK_S)
    result = await desk.run(desk.backend.result(job)) if status.state is State.FINISHED else None
    if result is not None and existing:
        result = result.model_copy(update={"existing": True})
    return Job(**status.model_dump(), existing=existing, result=result)


def _answered(job: Job, status: int, headers: dict[str, str], known: str | None = None) -> Response:
    response = answer(job, status, headers)
    tag = tag_of(bytes(response.body))
    if known is not None and tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return response


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([place.score, place.job]).encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        score, job = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not math.isfinite(place := float(score)):
            raise ValueError("no list gives this")
        return Place(repr(place), str(job))
    except (ValueError, TypeError) as exc:
        raise InvalidSpec("cursor: not one that a list has given") from exc
