"""Who may look at the page, and who may act on it?

A key comes by the form of the page and stays in a cookie of the browser's session, which no script can read and no
other site's page can have sent. An action needs the key's scope, a page of ours as its sender, and the token that
this page gave to this key. An API without keys shows everything that its tenant has, and lets nobody act.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from leasebox.contract.errors import Forbidden
from leasebox.server.service import KEY_COOKIE, Desk, desk

_MAX_FORM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Guest:
    """A person in front of the page: what the key allows, and the token of the forms; None = no keys, read-only."""

    desk: Desk
    token: str | None

    def may(self, scope: str) -> bool:
        """Whether an action of this scope is offered; reading needs no key where there are none."""
        key = self.desk.caller.key
        return key.allows(scope) if key is not None else scope.endswith(":read")

    def needs(self, scope: str, form: Mapping[str, str]) -> None:
        """Refuse an action that the key does not allow, or that no page of ours has sent.

        Raises:
            Forbidden: Says which.
        """
        if self.token is None:
            raise Forbidden("without keys this page only shows", hint="set LEASEBOX_KEY_PEPPER and sign in with a key")
        self.desk.caller.needs(scope)
        if not hmac.compare_digest(form.get("token", "").encode(), self.token.encode()):
            raise Forbidden("the form is not of this page", hint="go back, load the page again and repeat it")


async def guest(request: Request, *scopes: str) -> Guest:
    """Whoever the cookie names.

    Raises:
        Unauthorized: A key is needed and none, or none that is good, is there.
        Forbidden: The key lacks a scope.
    """
    found = await desk(request, *scopes, by_cookie=True)
    key, pepper, token = found.caller.key, found.service.pepper, None
    if key is not None and pepper is not None:
        # Of this secret: a key that was rotated leaves the forms of its earlier one without effect.
        told = f"page:{key.id}:{key.digest}"
        token = hmac.new(pepper, told.encode(), hashlib.sha256).hexdigest()
    return Guest(found, token)


def keep(response: Response, request: Request, key: str) -> None:
    """Have the browser keep the key until it is closed."""
    response.set_cookie(KEY_COOKIE, key, httponly=True, samesite="strict", secure=request.url.scheme == "https")


def forget(response: Response) -> None:
    """Have the browser forget the key."""
    response.delete_cookie(KEY_COOKIE, httponly=True, samesite="strict")


def is_own(headers: Headers) -> bool:
    """Whether a form was sent by a page of ours, or by no page at all.

    Source: the order of Go's net/http.CrossOriginProtection. Browsers say the site where the address is https or
    loopback, the origin always.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that a page of ours has sent.

    Raises:
        Forbidden: Another site's page has sent it.
        HTTPException: 413, it is larger than our forms are; 422, it is malformed.
    """
    if not is_own(request.headers):
        raise Forbidden("the form was sent by another site's page")
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > _MAX_FORM_BYTES:
            raise HTTPException(413, f"a form has at most {_MAX_FORM_BYTES} bytes", {"Connection": "close"})
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=8))
    except ValueError as exc:
        raise HTTPException(422, "the form is malformed") from exc


def own_path(wanted: str) -> str:
    """Where to go on after signing in: a place of the page, never another site."""
    is_ours = wanted == "/" or wanted.startswith(("/?", "/page/"))
    return wanted if is_ours and "\\" not in wanted and wanted.isprintable() else "/"
