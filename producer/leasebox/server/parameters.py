"""What may a request to /v1 say beside its body? The parameters that its route declares, each once.

What would be ignored is refused: a misspelt `?extract=tar` would store the archive as a file.
"""

from typing import Annotated, Any

from fastapi import Depends
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from starlette.requests import HTTPConnection

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.faults import place

_METADATA = "metadata."


async def _metadata(connection: HTTPConnection) -> dict[str, str]:
    given = connection.query_params.items()
    return {name.removeprefix(_METADATA): value for name, value in given if name.startswith(_METADATA)}


Metadata = Annotated[dict[str, str], Depends(_metadata)]
"""The values of a request's `metadata.NAME=VALUE`; OpenAPI has no form for names that are not known before."""


def check(connection: HTTPConnection) -> None:
    """Look at the query.

    Raises:
        InvalidSpec: One is not known to the route, or came twice. Nothing was done.
    """
    route = connection.scope.get("route")
    if not getattr(route, "path", "").startswith("/v1/"):
        return
    if connection.scope["query_string"]:
        _check_query(connection, route)


def _check_query(connection: HTTPConnection, route: Any) -> None:
    known = _declared(route)
    has_metadata = any(part.call is _metadata for part in route.dependant.dependencies)
    seen: set[str] = set()
    for name, _ in connection.query_params.multi_items():
        if name not in known and not (has_metadata and name.startswith(_METADATA)):
            names = sorted(known) + [f"{_METADATA}NAME"] * has_metadata
            raise InvalidSpec(f"{place((name,))}: unknown parameter", hint=f"known: {', '.join(names) or 'none'}")
        if name in seen:
            raise InvalidSpec(f"{place((name,))}: given twice")
        seen.add(name)


def _declared(route: Any) -> set[str]:
    """The names of its parameters of the query. It takes 10 us."""
    return {field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)}
