"""Routes of sessions: make, list, look, touch, close."""

from fastapi import APIRouter
from starlette.responses import Response

from leasebox import _sessions
from leasebox.contract.metrics import SessionMetrics
from leasebox.contract.result import SessionInfo
from leasebox.server.bodies import StrictRoute
from leasebox.server.models import BODY, Cursor, Documented, Name, NewSession, PageSize, SessionList, answer, problems
from leasebox.server.service import ReadSessions, WriteSessions

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=StrictRoute)
_LOCATION: Documented = {200: {"headers": {"Location": {"schema": {"type": "string"}}}}}


@router.post("", response_model=SessionInfo, responses=_LOCATION | problems(*BODY, 410, 429))
async def open_session(wanted: NewSession, desk: WriteSessions) -> Response:
    """Make a session, or find the live one of that name."""
    plan = _sessions.plan(
        wanted.name,
        profile=wanted.profile,
        idle_timeout_s=wanted.idle_timeout_s,
        max_age_s=wanted.max_age_s,
        stateful=False,
        env=None,
    )
    desk.notes["target"] = plan.name
    found = await desk.run(desk.backend.open_session(plan, must_exist=wanted.must_exist))
    return answer(found, headers={"Location": f"/v1/sessions/{found.name}"})


@router.get("", response_model=SessionList, responses=problems(422))
async def list_sessions(desk: ReadSessions, limit: PageSize = 50, cursor: Cursor = None) -> Response:
    """The live sessions by name; the cursor is the last name."""
    found = sorted(await desk.run(desk.backend.sessions()), key=lambda session: session.name)
    if cursor is not None:
        _sessions.checked_name(cursor)
        found = [session for session in found if session.name > cursor]
    page = found[:limit]
    return answer(SessionList(items=page, next_cursor=page[-1].name if len(found) > limit else None))


@router.get("/{name}", response_model=SessionInfo, responses=problems(404, 422))
async def get_session(name: Name, desk: ReadSessions) -> Response:
    """How a session stands, also for a day after its end."""
    return answer(await desk.run(desk.backend.session(name)))


@router.get("/{name}/metrics", response_model=SessionMetrics, responses=problems(404, 422))
async def session_metrics(name: Name, desk: ReadSessions) -> Response:
    """What its sandbox uses now; its node is asked, and answers in a moment."""
    return answer(await desk.run(desk.backend.metrics(name)))


@router.post("/{name}/touch", response_model=SessionInfo, responses=problems(404, 410, 422))
async def touch_session(name: Name, desk: WriteSessions) -> Response:
    """Start its idle time anew; `expires_at` says when it ends if nothing else happens."""
    expires_at = await desk.run(desk.backend.touch(name))
    found = await desk.run(desk.backend.session(name))
    return answer(found.model_copy(update={"expires_at": expires_at}))


@router.delete("/{name}", response_model=SessionInfo, responses=problems(404, 422))
async def close_session(name: Name, desk: WriteSessions) -> Response:
    """End it: queued jobs are cancelled, a running one is asked to end and completes the close."""
    return answer(await desk.run(desk.backend.close_session(name)))
