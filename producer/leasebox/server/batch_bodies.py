"""What may the body of a batch be? A JSON array, or lines of JSON; each item is read, and refused, by itself."""

from collections.abc import Iterator
from typing import Any, ClassVar

from starlette.requests import Request

from leasebox._batches import Item, item_of
from leasebox.config import ClientSettings
from leasebox.contract.errors import ConfigError, InvalidSpec, LeaseboxError
from leasebox.contract.spec import MAX_SPECS
from leasebox.server.bodies import StrictRequest, StrictRoute, parse
from leasebox.server.frames import LINES


class BatchRequest(StrictRequest):
    """A request whose body may also be lines of JSON."""

    kinds: ClassVar[tuple[str, ...]] = (LINES,)


class BatchRoute(StrictRoute):
    """A route that takes a batch."""

    kind = BatchRequest


async def items_of(request: Request, settings: ClientSettings, repeat_as: str | None = None) -> list[Item]:
    """The items of a request's body.

    Args:
        repeat_as: An item without an idempotency key gets this one and its index, so that the request may be repeated.

    Raises:
        InvalidSpec: The body is no list, or has too many items.
        HTTPException: It is not within the bounds of a body, or no JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == LINES:
        lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
        _bounded(len(lines))
        given = list(_parsed(lines))
    else:
        given = await request.json()
        if not isinstance(given, list):
            raise InvalidSpec("the body must be a list of jobs", hint=f"or lines of JSON, as {LINES}")
        _bounded(len(given))
    return [_item(place, one, settings, repeat_as) for place, one in enumerate(given)]


def _bounded(count: int) -> None:
    if count > MAX_SPECS:
        raise InvalidSpec(
            f"{count} jobs; at most {MAX_SPECS} come in one request", hint="POST .../jobs adds further ones"
        )


def _parsed(lines: list[bytes]) -> Iterator[object]:
    for line in lines:
        try:
            yield parse(line)
        except ValueError as exc:
            yield InvalidSpec(str(exc))


def _item(place: int, given: Any, settings: ClientSettings, repeat_as: str | None) -> Item:
    if isinstance(given, LeaseboxError):
        return Item(place, given)
    if not isinstance(given, dict):
        return Item(place, InvalidSpec("a job must be an object"))
    fields = {name: value for name, value in given.items() if name != "index"}
    index = given.get("index")
    if index is not None and not (type(index) is int and 0 <= index < 1 << 53):
        return Item(place, InvalidSpec("index: not a whole number from 0 on"))
    if repeat_as is not None and fields.get("idempotency_key") is None:
        fields["idempotency_key"] = f"{repeat_as}:{place}"
    made = item_of(place if index is None else index, fields, settings, may_upload=False)
    if isinstance(made.spec, ConfigError):
        return Item(made.index, InvalidSpec(made.spec.detail, hint=made.spec.hint))
    return Item(made.index, made.spec, made.key, is_numbered=index is not None)
