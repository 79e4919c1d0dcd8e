"""What may the body of a request be? JSON in UTF-8 of a bounded size, without NaN and doubled names."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ClassVar

from fastapi import HTTPException
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

MAX_BODY_BYTES = 16 << 20
_HEARD_OUT_BYTES = 2 * MAX_BODY_BYTES  # up to here a refused body is read and dropped: a reset would eat the refusal
STALL_S = 30.0
"""A client that sends nothing for so long while its body is not complete is given up."""


def parse(raw: bytes) -> Any:
    """Read strict JSON.

    Raises:
        ValueError: Says what is wrong; nothing of the content.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise ValueError(f"the body is not UTF-8 (byte {exc.start})") from None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise ValueError(f"the body is not JSON: {exc.msg} (line {exc.lineno}, column {exc.colno})") from None
    except RecursionError:
        raise ValueError("the body is nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        doubled = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the body has {doubled[:64]!r} twice in one object")
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"the body has {name}, which is not JSON")


class StrictRequest(Request):
    """A request whose body is read within bounds and as strict JSON; `kinds` are further types that it may have."""

    kinds: ClassVar[tuple[str, ...]] = ()

    def _is_allowed(self, content_type: str) -> bool:
        return _is_json(content_type) or content_type.partition(";")[0].strip().lower() in self.kinds

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            HTTPException: 413 too large, 408 stalled, 415 not JSON.
        """
        if not hasattr(self, "_body"):
            self._body = await self._read()
            if self._body and not self._is_allowed(self.headers.get("content-type", "")):
                raise HTTPException(415, "the body must be application/json")
        return self._body

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            HTTPException: 400, it is not strict JSON.
        """
        try:
            return parse(await self.body())
        except ValueError as exc:
            raise HTTPException(400, str(exc)) from exc

    async def _read(self) -> bytes:
        too_large = HTTPException(413, f"a body has at most {MAX_BODY_BYTES} bytes", {"Connection": "close"})
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > _HEARD_OUT_BYTES:
            raise too_large
        parts: list[bytes] = []
        size = 0
        async for part in self._parts():
            size += len(part)
            if size <= MAX_BODY_BYTES:
                parts.append(part)
            elif size > _HEARD_OUT_BYTES:
                raise too_large
        if size > MAX_BODY_BYTES:
            raise too_large
        return b"".join(parts)

    async def _parts(self) -> AsyncIterator[bytes]:
        stream = self.stream()
        try:
            while True:
                async with asyncio.timeout(STALL_S):
                    part = await anext(stream, None)
                if part is None:
                    return
                yield part
        except TimeoutError as exc:
            raise HTTPException(408, f"the body stalled for {STALL_S:g} s", {"Connection": "close"}) from exc


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


class SessionRequest(StrictRequest):
    """A request for a job of the session that its path names: a body that names none means that one."""

    async def json(self) -> Any:
        """The parsed body, with the session."""
        data = await super().json()
        return {"session": self.path_params["name"], **data} if isinstance(data, dict) else data


class StrictRoute(APIRoute):
    """A route whose bodies are strict."""

    kind: ClassVar[type[StrictRequest]] = StrictRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Hand the request over as the route's kind."""
        handle = super().get_route_handler()

        async def _strictly(request: Request) -> Response:
            return await handle(self.kind(request.scope, request.receive))

        return _strictly


class SessionRoute(StrictRoute):
    """A route for jobs of a session."""

    kind = SessionRequest
