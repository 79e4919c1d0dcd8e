"""How do the documents of the page come about, and what may a browser do with them?

A document may load our own files, whose names hold a digest of their content, and speak to this API: nothing else, and
no script or style that stands in it. Every value that a template writes is escaped, and made visible before that.
"""

import hashlib
import time
from collections.abc import Callable, Coroutine
from importlib.resources import files
from typing import Any

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from leasebox import __version__
from leasebox.contract.errors import LeaseboxError, Unauthorized
from leasebox.server import problems
from leasebox.server.page import wording
from leasebox.server.problems import Problem, problem_of, refusal
from leasebox.server.service import KEY_COOKIE

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Under `no-referrer` a browser hides the origin of our own forms as well.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def _static() -> tuple[dict[str, str], dict[str, bytes]]:
    names, contents = {}, {}
    for file in files(__package__).joinpath("static").iterdir():
        content = file.read_bytes()
        stem, _, ending = file.name.rpartition(".")
        named = f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
        names[file.name], contents[named] = named, content
    return names, contents


_NAMES, _CONTENTS = _static()


def _shown(value: object) -> object:
    return wording.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_TEMPLATES = Environment(
    loader=PackageLoader("leasebox.server.page"),
    autoescape=True,
    finalize=_shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(wording.FILTERS)
_TEMPLATES.globals.update(asset=lambda name: f"/page/static/{_NAMES[name]}", version=__version__)


def document(template: str, status: int = 200, /, **values: object) -> Response:
    """The template with these values."""
    told = {"now": time.time(), "token": None, "is_signed_in": False, **values}
    return HTMLResponse(_TEMPLATES.get_template(template).render(told), status, HEADERS)


def static_file(name: str) -> Response:
    """One of our files under its name with the digest, to be kept for good.

    Raises:
        HTTPException: 404, there is none of that name.
    """
    if name not in _CONTENTS:
        raise HTTPException(404, "there is no such file")
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_CONTENTS[name], headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


def _refused(problem: Problem) -> Response:
    response = document("problem.html", problem.status, problem=problem)
    if "Retry-After" in (for_programs := problems.answer(problem).headers):
        response.headers["Retry-After"] = for_programs["Retry-After"]
    return response


def key_form(path: str, refused: Problem | None = None) -> Response:
    """The form that asks for a key, and then leads to the path; nobody was refused who has shown none."""
    if refused is None:
        return document("key.html", path=path, refused=None)
    response = document("key.html", refused.status, path=path, refused=refused.detail)
    response.headers["WWW-Authenticate"] = problems.answer(refused).headers["WWW-Authenticate"]
    return response


def _wanted(request: Request) -> str:
    if request.method != "GET":
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


class PageRoute(APIRoute):
    """A route that tells people, rather than programs, what was refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Turn refusals into documents."""
        handle = super().get_route_handler()

        async def _told(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthorized as exc:
                has_tried = request.method != "GET" or KEY_COOKIE in request.cookies
                return key_form(_wanted(request), problem_of(exc, request.scope) if has_tried else None)
            except LeaseboxError as exc:
                return _refused(problem_of(exc, request.scope))
            except RequestValidationError:
                return _refused(refusal(422, "there is no such address", request.scope))
            except HTTPException as exc:
                return _refused(refusal(exc.status_code, str(exc.detail), request.scope))

        return _told
