"""How is the application put together?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware

from leasebox import __version__
from leasebox.config import ApiSettings, load_api
from leasebox.server import audit, batches, events, files, installation, jobs, page, problems, sessions, stdin, webhooks
from leasebox.server.gate import Gate
from leasebox.server.meter import Meter
from leasebox.server.rates import HEADERS
from leasebox.server.service import Service

_ABOUT = (
    "Run untrusted code from a queue in sandboxes. Errors are problem documents (RFC 9457) with a `code`. "
    "Below /v1 a parameter that a route does not declare is refused with 422, and so is a change under a condition "
    "(`If-Match`): none is checked."
)

_ROUTERS = (
    jobs.router,
    jobs.session_router,
    events.router,
    stdin.router,
    files.router,
    files.operations,
    batches.router,
    sessions.router,
    webhooks.router,
    installation.router,
    page.router,
    audit.router,
)


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Make the application; it connects when it is first asked.

    Without `LEASEBOX_KEY_PEPPER` it asks for no key, and answers this machine alone.

    Args:
        settings: Instead of reading the environment.

    Raises:
        ConfigError: A setting is malformed, or there is no Redis to speak to.
    """
    settings = settings or load_api()
    meter, service = Meter(), Service(settings)
    meter.watched_by(lambda: service.watch.watchers)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="Leasebox",
        version=__version__,
        description=_ABOUT,
        lifespan=_lifespan,
        # `telling` traces requests: FastAPI's own would be a second span, and notes texts of errors.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        # To a client that does not follow, 307 to POST /v1/jobs/ looks like a success.
        redirect_slashes=False,
        # Models are documented as they are read; what is written has the same fields.
        separate_input_output_schemas=False,
    )
    app.state.service, app.state.meter = service, meter
    problems.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-Id", *HEADERS],
        )
    has_keys, trail = service.pepper is not None, service.trail
    app.add_middleware(Gate, has_keys=has_keys, origins=settings.cors_origins, meter=meter, trail=trail)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the schema of problem documents."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes,
            separate_input_output_schemas=False,
        )  # fmt: skip
        schemas = made["components"]["schemas"]
        problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs", {}) | {"Problem": problem}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema
