"""What may a request to /v1 say beside its body? The parameters that its route declares, each once; and no condition.

What would be ignored is refused: a misspelt `?extract=tar` would store the archive as a file.
"""

from typing import Annotated, Any

from fastapi import Depends
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Header, Query
from starlette.requests import HTTPConnection

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.faults import place

_METADATA = "metadata."
# Not answered with 412, which says that the condition was looked at. RFC 9110, 13.1: these can hold up a change.
_CONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
_REPEAT_KEY = "Idempotency-Key"
# A second one changes nothing, as of whatever is no POST.
_REPEATABLE = ("/cancel", "/seal", "/touch")


async def _metadata(connection: HTTPConnection) -> dict[str, str]:
    given = connection.query_params.items()
    return {name.removeprefix(_METADATA): value for name, value in given if name.startswith(_METADATA)}


Metadata = Annotated[dict[str, str], Depends(_metadata)]
"""The values of a request's `metadata.NAME=VALUE`; OpenAPI has no form for names that are not known before."""


def check(connection: HTTPConnection) -> None:
    """Look at the query, and at the headers that would let a change be done once or not at all.

    Raises:
        InvalidSpec: One is not known to the route, or came twice. Nothing was done.
    """
    route = connection.scope.get("route")
    if not getattr(route, "path", "").startswith("/v1/"):
        return
    if connection.scope["query_string"]:
        _check_query(connection, route)
    if connection.scope.get("method", "GET") not in ("GET", "HEAD"):
        _check_headers(connection, route)


def _check_query(connection: HTTPConnection, route: Any) -> None:
    known = _declared(route, Query)
    has_metadata = any(part.call is _metadata for part in route.dependant.dependencies)
    seen: set[str] = set()
    for name, _ in connection.query_params.multi_items():
        if name not in known and not (has_metadata and name.startswith(_METADATA)):
            names = sorted(known) + [f"{_METADATA}NAME"] * has_metadata
            raise InvalidSpec(f"{place((name,))}: unknown parameter", hint=f"known: {', '.join(names) or 'none'}")
        if name in seen:
            raise InvalidSpec(f"{place((name,))}: given twice")
        seen.add(name)


def _check_headers(connection: HTTPConnection, route: Any) -> None:
    for name in _CONDITIONS:
        if name in connection.headers:
            raise InvalidSpec(f"{name}: no condition of a change is checked here; nothing was done")
    is_harmless = connection.scope["method"] != "POST" or route.path.endswith(_REPEATABLE)
    if not is_harmless and _REPEAT_KEY in connection.headers and _REPEAT_KEY.lower() not in _declared(route, Header):
        raise InvalidSpec(f"{_REPEAT_KEY}: not taken by this route; nothing was done")


def _declared(route: Any, kind: type[Query | Header]) -> set[str]:
    """The names of the parameters of this kind, a header's in small letters. It takes 10 us."""
    found = {field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, kind)}
    return {name.lower() for name in found} if kind is Header else found
