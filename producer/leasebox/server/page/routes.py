"""What has the page to show, and what may be done on it?"""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.params import Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from leasebox import _flows
from leasebox._flows import JobFilter
from leasebox.contract.errors import Unauthorized
from leasebox.contract.names import SESSION_NAME
from leasebox.contract.result import SessionInfo, State
from leasebox.server.models import JobId
from leasebox.server.page.entry import Guest, forget, form_of, guest, keep, own_path
from leasebox.server.page.rendering import PageRoute, document, key_form, static_file
from leasebox.server.page.transcript import Transcript, transcript
from leasebox.server.page.wording import took
from leasebox.server.problems import problem_of
from leasebox.server.service import caller_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MAX_JOBS = 50
MAX_SESSIONS = 50
_SEE_OTHER = 303
Chosen = Annotated[State | None, Query(description="Jobs in this state alone.")]
Name = Annotated[str, Path(pattern=SESSION_NAME)]


@router.get("/")
async def home(request: Request, state: Chosen = None) -> Response:
    """Queues, nodes, sessions and recent jobs."""
    found = await guest(request, "jobs:read")
    desk = found.desk
    queues, nodes, sessions, jobs = await asyncio.gather(
        desk.run(desk.backend.queues()),
        desk.run(desk.backend.nodes()),
        _sessions(found),
        desk.run(_flows.jobs(desk.backend.keys, desk.tenant, JobFilter(state), MAX_JOBS)),
    )
    return _shown(
        found, "home.html", queues=queues, nodes=nodes, sessions=sessions, jobs=jobs, chosen=state, states=list(State)
    )


async def _sessions(found: Guest) -> list[SessionInfo] | None:
    """The live sessions, the last used first; None = the key may not see them."""
    if not found.may("sessions:read"):
        return None
    sessions = await found.desk.run(found.desk.backend.sessions())
    return sorted(sessions, key=lambda session: -session.used_at)


@router.get("/page/jobs/{job}")
async def show_job(request: Request, job: JobId, output: bool = True) -> Response:
    """One job with its output; a page that follows it already asks again for the rest alone."""
    found = await guest(request, "jobs:read")
    desk = found.desk
    status = await desk.run(desk.backend.status(job))
    is_over = status.state is State.FINISHED
    result = await desk.run(desk.backend.result(job)) if is_over else None
    why = [] if is_over else (await desk.run(desk.backend.why(job))).why
    written = await transcript(desk, job, result) if output else Transcript((), None)
    return _shown(found, "job.html", job=status, result=result, why=why, written=written)


@router.post("/page/jobs/{job}/cancel")
async def cancel_job(request: Request, job: JobId) -> Response:
    """Ask for a job's end."""
    found = await guest(request)
    found.needs("jobs:write", await form_of(request))
    await found.desk.run(found.desk.backend.cancel(job))
    return RedirectResponse(f"/page/jobs/{job}", _SEE_OTHER)


@router.get("/page/sessions/{name}")
async def show_session(request: Request, name: Name) -> Response:
    """One session with its jobs."""
    found = await guest(request, "sessions:read")
    desk = found.desk
    session = await desk.run(desk.backend.session(name))
    wanted = JobFilter(session=name)
    may_read = found.may("jobs:read")
    jobs = await desk.run(_flows.jobs(desk.backend.keys, desk.tenant, wanted, MAX_JOBS)) if may_read else None
    return _shown(found, "session.html", session=session, jobs=jobs)


@router.post("/page/sessions/{name}/close")
async def close_session(request: Request, name: Name) -> Response:
    """End a session."""
    found = await guest(request)
    found.needs("sessions:write", await form_of(request))
    await found.desk.run(found.desk.backend.close_session(name))
    return RedirectResponse(f"/page/sessions/{name}", _SEE_OTHER)


@router.post("/page/key")
async def sign_in(request: Request) -> Response:
    """Look at the key that the form gives, and keep it in the browser."""
    form = await form_of(request)
    key, path = form.get("key", "").strip(), own_path(form.get("path", "/"))
    try:
        await caller_of(request, key)
    except Unauthorized as exc:
        return key_form(path, problem_of(exc, request.scope))
    response = RedirectResponse(path, _SEE_OTHER)
    keep(response, request, key)
    return response


@router.post("/page/forget")
async def sign_out(request: Request) -> Response:
    """Have the browser forget the key."""
    await form_of(request)
    response = RedirectResponse("/", _SEE_OTHER)
    forget(response)
    return response


@router.get("/page/static/{name}")
async def static(name: str) -> Response:
    """Styles, script and icon."""
    return static_file(name)


def _shown(found: Guest, template: str, /, **values: object) -> Response:
    return document(
        template,
        200,
        token=found.token,
        may=found.may,
        is_signed_in=found.token is not None,
        tenant=found.desk.tenant,
        took=lambda job: took(job, time.time()),
        max_sessions=MAX_SESSIONS,
        max_jobs=MAX_JOBS,
        **values,
    )
