"""Routes of the installation: profiles, nodes, queues, keys, health and the document."""

import html
import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from leasebox import __version__, _access
from leasebox._overview import node_fields
from leasebox.contract import CONTRACT_VERSION
from leasebox.contract.errors import LeaseboxError, WrongState
from leasebox.server.bodies import StrictRoute
from leasebox.server.health import Check
from leasebox.server.models import BODY, Issued, KeyInfo, NewKey, answer, problems
from leasebox.server.service import Admin, Desk, ReadJobs, may_read, service_of

router = APIRouter(route_class=StrictRoute)


class Readiness(BaseModel):
    """Whether requests can be served."""

    status: str
    checks: list[Check]


class Version(BaseModel):
    """What answers."""

    version: str
    contract: int


@router.get("/v1/profiles", response_model=list[dict[str, Any]], responses=problems(422), tags=["installation"])
async def list_profiles(desk: ReadJobs) -> Response:
    """The profiles that jobs may name."""
    found = await desk.run(desk.backend.profiles())
    return JSONResponse([{"name": name, **profile.published} for name, profile in found.items()])


@router.get("/v1/nodes", response_model=list[dict[str, Any]], responses=problems(422), tags=["installation"])
async def list_nodes(desk: ReadJobs) -> Response:
    """The worker nodes, as they last reported."""
    return JSONResponse([node_fields(node) for node in await desk.run(desk.backend.nodes())])


@router.get("/v1/queues", response_model=list[dict[str, Any]], responses=problems(422), tags=["installation"])
async def list_queues(desk: ReadJobs) -> Response:
    """How much waits in each class of jobs."""
    return JSONResponse([asdict(queue) for queue in await desk.run(desk.backend.queues())])


@router.get("/v1/keys", response_model=list[KeyInfo], responses=problems(422), tags=["keys"])
async def list_keys(desk: Admin) -> Response:
    """All keys, the newest first, without their secrets."""
    found = await desk.run(_access.listed(desk.service.keys))
    return JSONResponse([KeyInfo(**_shown(key)).model_dump() for key in found])


@router.post("/v1/keys", status_code=201, response_model=Issued, responses=problems(*BODY, 409), tags=["keys"])
async def create_key(wanted: NewKey, desk: Admin) -> Response:
    """Make a key; its text is told this once."""
    expires_at = None if wanted.expires_in_s is None else time.time() + wanted.expires_in_s
    made = _access.create(desk.service.keys, _pepper(desk), wanted.tenant, wanted.scopes, expires_at)
    issued = await desk.run(made)
    desk.notes.update(target=issued.id, of=issued.tenant, scopes=" ".join(issued.scopes))
    return answer(Issued(**asdict(issued)), 201)


@router.post("/v1/keys/{key}/rotate", response_model=Issued, responses=problems(404, 409, 422), tags=["keys"])
async def rotate_key(key: str, desk: Admin) -> Response:
    """Give a key another secret; the earlier one ends within seconds."""
    return answer(Issued(**asdict(await desk.run(_access.rotate(desk.service.keys, _pepper(desk), key)))))


@router.delete("/v1/keys/{key}", response_model=KeyInfo, responses=problems(404, 422), tags=["keys"])
async def revoke_key(key: str, desk: Admin) -> Response:
    """End a key; within seconds no API takes it."""
    return answer(KeyInfo(**_shown(await desk.run(_access.revoke(desk.service.keys, key)))))


def _pepper(desk: Desk) -> bytes:
    if desk.service.pepper is None:
        raise WrongState("this API has no keys", hint="start it with LEASEBOX_KEY_PEPPER")
    return desk.service.pepper


def _shown(key: _access.ApiKey) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if name != "digest"}


@router.get("/healthz", response_model=dict[str, str], tags=["health"])
async def health() -> Response:
    """The process lives; asks nothing else."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, tags=["health"])
async def readiness(request: Request) -> Response:
    """Whether Redis answers; and, for information, whether a node is up.

    Who may read jobs is also told how the installation does: looked at every 30 s at most, `at` says when.
    """
    service = service_of(request)
    at = time.time()
    try:
        nodes = await service.run(service.backend(service.settings.tenant).nodes())
    except LeaseboxError:
        check = Check(name="redis", status="failed", message="Redis does not answer", at=at)
        return answer(Readiness(status="unready", checks=[check]), 503, {"Retry-After": "1"})
    up = sum(node.state == "up" for node in nodes)
    checks = [
        Check(name="redis", status="ok", message="Redis answers", at=at),
        Check(name="nodes", status="ok" if up else "warning", message=f"{up} nodes take jobs", at=at),
    ]
    if await may_read(request):
        checks += await service.health.checks(service.run, service.keys)
    return answer(Readiness(status="ready", checks=checks))


@router.get("/metrics", response_class=Response, responses=problems(), tags=["health"])
async def metrics(request: Request, desk: ReadJobs) -> Response:  # noqa: ARG001
    """What this process counted, for Prometheus."""
    return Response(request.app.state.meter.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/version", response_model=Version, tags=["health"])
async def version() -> Response:
    """Version of the API and of the contract."""
    return answer(Version(version=__version__, contract=int(CONTRACT_VERSION)))


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
async def docs(request: Request) -> Response:
    """The routes, on a page that needs nothing from elsewhere."""
    page = docs_page(request.app.openapi())
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def docs_page(document: dict[str, Any]) -> str:
    """The document as a table."""
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(route.get('description', ''))}</td><td>{', '.join(route['responses'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    )
    style = "body{font:15px sans-serif;margin:2em}td{padding:.3em .8em;vertical-align:top;border-top:1px solid #ccc}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Leasebox API</title><style>{style}</style>"
        f"<h1>Leasebox API {html.escape(document['info']['version'])}</h1>"
        "<p>The exact document is <a href=openapi.json>openapi.json</a>.</p><table>"
        f"<tr><th>method<th>route<th>what it does<th>answers</tr>{rows}</table></html>"
    )
