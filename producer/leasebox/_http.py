"""How do the clients speak to the HTTP API? One transport for each world, and every error made ours.

A request that failed on its way is sent again: everything that `_http_backend` asks may be repeated.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from leasebox._backend import Flow
from leasebox._content import Source
from leasebox._http_backend import EventStream, Listen, Release, Request, unreachable
from leasebox._pauses import TRIES, pause_s, rest_s_of, sat_out_s
from leasebox._quota import restored
from leasebox.config import hide_password
from leasebox.contract import CONTRACT_VERSION
from leasebox.contract.carry import carry_out, carry_out_async
from leasebox.contract.errors import BrokerUnavailable, ConfigError, LeaseboxError, QuotaExceeded
from leasebox.contract.events import Event
from leasebox.contract.telemetry import traces

A = TypeVar("A")
_CONNECT_S = 5.0
_ANSWER_S = 30.0
# Even for a shorter wait an answer gets this time to begin.
_LEAST_S = 1.0
_NOT_JSON = object()
_TOLD_CHARACTERS = 300


@dataclass(slots=True)
class _Answer:
    """An open answer of a stream, and its lines that were not read yet."""

    response: httpx2.Response
    lines: Iterator[str] | AsyncIterator[str]


@dataclass(frozen=True, slots=True)
class _Place:
    """What every request has."""

    url: str
    headers: Mapping[str, str] = field(repr=False)


def _place(url: str, key: str | None) -> _Place:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ConfigError(f"LEASEBOX_URL: {hide_password(url)} is not a URL: {exc}") from exc
    if not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"LEASEBOX_URL: {url} is not the address of an API", hint="write https://HOST[:PORT][/PATH]")
    if parts.username or parts.password:
        raise ConfigError("LEASEBOX_URL: credentials do not go into the URL", hint="set LEASEBOX_API_KEY")
    headers = {"User-Agent": f"leasebox-client/{CONTRACT_VERSION}"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return _Place(url.rstrip("/"), headers)


def error_of(status: int, data: object, url: str) -> LeaseboxError:
    """The error that a refusal means; one that is no problem document comes from something between us and the API."""
    if not isinstance(data, dict) or "code" not in data:
        return unreachable(url, f"something answered with status {status}")
    return restored(data)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Make every error of httpx2 one of ours.

    Raises:
        ConfigError: The URL cannot be asked.
        BrokerUnavailable: Everything that may pass.
    """
    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as exc:
        raise ConfigError(f"LEASEBOX_URL: {url}: {exc}") from exc
    except httpx2.TimeoutException as exc:
        raise unreachable(url, "no answer in time") from exc
    except (httpx2.TransportError, httpx2.StreamError) as exc:
        raise unreachable(url, str(exc) or type(exc).__name__) from exc


def _timeout(read_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(connect=_CONNECT_S, read=read_s, write=_ANSWER_S, pool=None)


def _is_stale(stream: EventStream, block_s: float) -> bool:
    """Whether the open answer would wait longer than may be waited now."""
    return stream.open is not None and stream.opened_for_s > max(block_s, _LEAST_S)


def _value(url: str, request: Request[A], response: httpx2.Response) -> A:
    if response.is_success and request.is_raw:
        return request.parse(response.content)
    data = _json(response)
    if not response.is_success or data is _NOT_JSON:
        raise error_of(response.status_code, data, url)
    try:
        return request.parse(data)
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        told = " ".join(str(exc).split())[:_TOLD_CHARACTERS]
        raise unreachable(url, f"what answered is not of this API ({type(exc).__name__}: {told})") from exc


def _made(
    http: httpx2.Client | httpx2.AsyncClient,
    url: str,
    request: Request[A],
    read_s: float,
    content: Iterator[bytes] | AsyncIterator[bytes] | None,
) -> httpx2.Request:
    return http.build_request(
        request.method,
        url + request.path,
        params=dict(request.query),
        headers={**request.headers, **traces.headers()},
        timeout=_timeout(read_s),
        json=request.body,
        content=content,
    )


async def _async_parts(source: Source) -> AsyncIterator[bytes]:
    for part in source.parts():
        yield part


def _json(response: httpx2.Response) -> Any:
    """What the body says, `null` and nothing being None; `_NOT_JSON`: it is of something between us and the API."""
    try:
        return response.json() if response.content else None
    except ValueError:
        return _NOT_JSON


class HttpTransport:
    """Carries out the flows of an `HttpBackend`, blocking; safe to share between threads."""

    def __init__(self, url: str, key: str | None) -> None:
        self._place = _place(url, key)
        self._http = httpx2.Client(headers=self._place.headers, limits=httpx2.Limits(max_connections=None))

    def run(self, flow: Flow[A]) -> A:
        """Carry a flow out to its end; an API that cannot be reached is thrown into it, so that it may cope."""
        return carry_out(flow, self._do)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _do(self, step: object) -> object:
        match step:
            case Request():
                return self._ask(step)
            case Listen():
                return self._listen(step.stream, step.block_s)
            case Release():
                return self._drop(step.stream)
            case _:
                raise TypeError(f"no step of the API: {step!r}")

    def _ask(self, request: Request[A]) -> A:
        for tried in range(1, TRIES + 1):
            rest_s = pause_s(tried, None, random.random())
            try:
                with _translated(self._place.url):
                    response = self._http.send(self._made(request, _ANSWER_S + request.wait_s))
                asked_s = rest_s_of(request.method, response, tried)
                if asked_s is None:
                    return _value(self._place.url, request, response)
                rest_s = asked_s
            except BrokerUnavailable:
                if tried == TRIES:
                    raise
            time.sleep(rest_s)
        raise AssertionError("unreachable")

    def _made(self, request: Request[A], read_s: float) -> httpx2.Request:
        content = None if request.content is None else request.content.parts()
        return _made(self._http, self._place.url, request, read_s, content)

    def _listen(self, stream: EventStream, block_s: float) -> list[Event]:
        if _is_stale(stream, block_s):
            self._drop(stream)
        try:
            with _translated(self._place.url):
                found = self._next(stream, block_s)
        except QuotaExceeded as exc:
            time.sleep(sat_out_s(exc, block_s))
            return []
        except BrokerUnavailable as exc:
            self._drop(stream)
            if isinstance(exc.__cause__, httpx2.ReadTimeout):
                return []
            raise
        if found is not None:
            return found
        # It broke off without `finished`: the next read begins a new one behind the cursor.
        self._drop(stream)
        raise unreachable(self._place.url, "the stream of events broke off")

    def _next(self, stream: EventStream, block_s: float) -> list[Event] | None:
        """The next event; none where the API says that it has nothing to say; None at the end of the answer."""
        answer = stream.open if isinstance(stream.open, _Answer) else self._open(stream, block_s)
        assert isinstance(answer.lines, Iterator)
        for line in answer.lines:
            if (event := stream.feed(line)) is not None:
                return [event]
            if line.startswith(":"):
                return []
        return [] if stream.is_done else None

    def _open(self, stream: EventStream, block_s: float) -> _Answer:
        response = self._http.send(self._made(stream.begin(), max(block_s, _LEAST_S)), stream=True)
        if not response.is_success:
            response.read()
            raise error_of(response.status_code, _json(response), self._place.url)
        answer = _Answer(response, response.iter_lines())
        stream.open, stream.opened_for_s = answer, max(block_s, _LEAST_S)
        # The end was seen before the cursor: nothing follows it.
        stream.is_done = response.status_code == 204
        return answer

    @staticmethod
    def _drop(stream: EventStream) -> None:
        if isinstance(stream.open, _Answer):
            stream.open.response.close()
        stream.open = None


class AsyncHttpTransport:
    """`HttpTransport` for one event loop."""

    def __init__(self, url: str, key: str | None) -> None:
        self._place = _place(url, key)
        self._http = httpx2.AsyncClient(headers=self._place.headers, limits=httpx2.Limits(max_connections=None))

    async def run(self, flow: Flow[A]) -> A:
        """As `HttpTransport.run`."""
        return await carry_out_async(flow, self._do)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _do(self, step: object) -> object:
        match step:
            case Request():
                return await self._ask(step)
            case Listen():
                return await self._listen(step.stream, step.block_s)
            case Release():
                await self._drop(step.stream)
                return None
            case _:
                raise TypeError(f"no step of the API: {step!r}")

    async def _ask(self, request: Request[A]) -> A:
        for tried in range(1, TRIES + 1):
            rest_s = pause_s(tried, None, random.random())
            try:
                with _translated(self._place.url):
                    response = await self._http.send(self._made(request, _ANSWER_S + request.wait_s))
                asked_s = rest_s_of(request.method, response, tried)
                if asked_s is None:
                    return _value(self._place.url, request, response)
                rest_s = asked_s
            except BrokerUnavailable:
                if tried == TRIES:
                    raise
            await asyncio.sleep(rest_s)
        raise AssertionError("unreachable")

    def _made(self, request: Request[A], read_s: float) -> httpx2.Request:
        content = None if request.content is None else _async_parts(request.content)
        return _made(self._http, self._place.url, request, read_s, content)

    async def _listen(self, stream: EventStream, block_s: float) -> list[Event]:
        if _is_stale(stream, block_s):
            await self._drop(stream)
        try:
            with _translated(self._place.url):
                found = await self._next(stream, block_s)
        except QuotaExceeded as exc:
            await asyncio.sleep(sat_out_s(exc, block_s))
            return []
        except BrokerUnavailable as exc:
            await self._drop(stream)
            if isinstance(exc.__cause__, httpx2.ReadTimeout):
                return []
            raise
        if found is not None:
            return found
        await self._drop(stream)
        raise unreachable(self._place.url, "the stream of events broke off")

    async def _next(self, stream: EventStream, block_s: float) -> list[Event] | None:
        """The next event; none where the API says that it has nothing to say; None at the end of the answer."""
        answer = stream.open if isinstance(stream.open, _Answer) else await self._open(stream, block_s)
        assert isinstance(answer.lines, AsyncIterator)
        async for line in answer.lines:
            if (event := stream.feed(line)) is not None:
                return [event]
            if line.startswith(":"):
                return []
        return [] if stream.is_done else None

    async def _open(self, stream: EventStream, block_s: float) -> _Answer:
        response = await self._http.send(self._made(stream.begin(), max(block_s, _LEAST_S)), stream=True)
        if not response.is_success:
            await response.aread()
            raise error_of(response.status_code, _json(response), self._place.url)
        answer = _Answer(response, response.aiter_lines())
        stream.open, stream.opened_for_s = answer, max(block_s, _LEAST_S)
        # The end was seen before the cursor: nothing follows it.
        stream.is_done = response.status_code == 204
        return answer

    @staticmethod
    async def _drop(stream: EventStream) -> None:
        if isinstance(stream.open, _Answer):
            await stream.open.response.aclose()
        stream.open = None
