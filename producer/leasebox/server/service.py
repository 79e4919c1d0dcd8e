"""What do all routes share? Redis within bounds, the watch, and who is asking."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from weakref import WeakValueDictionary

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from leasebox import _access
from leasebox._access import ApiKey
from leasebox._reads import Flow
from leasebox._redis import AsyncRedisTransport
from leasebox._redis_backend import RedisBackend
from leasebox.config import ApiSettings
from leasebox.contract.carry import carry_out_async
from leasebox.contract.errors import BrokerUnavailable, ConfigError, Forbidden, Unauthorized
from leasebox.contract.keys import Keys
from leasebox.server import parameters, telling
from leasebox.server.feed import Feed
from leasebox.server.health import Health
from leasebox.server.rates import Rates, RequestLimit, rates_of
from leasebox.server.trail import Trail
from leasebox.server.watch import Watch

log = logging.getLogger("leasebox.server")
A = TypeVar("A")
MAX_REQUESTS = 32
"""Requests to Redis under way at once; each is short, and each needs a connection."""
ANSWER_S = 5.0
_CANCEL_AGAIN_S = 0.1
KEY_FRESH_S = 2.0
"""So long a key is taken for what it was; a revoked one ends within it."""
_MAX_KNOWN = 4096
KEY_COOKIE = "leasebox_key"
"""Where a browser keeps the key that was given to the page."""

_bearer = HTTPBearer(auto_error=False, description="A key of `leasebox keys create`.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, without `Bearer`.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `key` is None where the API asks for none."""

    tenant: str
    key: ApiKey | None

    def needs(self, *scopes: str) -> None:
        """Refuse a key without one of the scopes.

        Raises:
            Forbidden: Names the scope.
        """
        for scope in scopes:
            if self.key is not None and not self.key.allows(scope):
                raise Forbidden(f"the key lacks the scope {scope}")


class Service:
    """Redis, the watch and the keys of one API process."""

    def __init__(self, settings: ApiSettings) -> None:
        if settings.url is None or settings.url.startswith("http"):
            raise ConfigError(
                "LEASEBOX_URL: the API needs the Redis of its workers", hint="redis://HOST:6379/0; or `leasebox up`"
            )
        pepper = settings.key_pepper
        self.settings = settings
        self.keys = Keys(settings.prefix)
        self.pepper = _access.checked_pepper(pepper.get_secret_value()) if pepper is not None else None
        self.trail = Trail(self.keys, settings.signer, self.run)
        self._transport = AsyncRedisTransport(settings.url, retries=2)
        per_minute = settings.api_requests_per_minute
        self._limit = RequestLimit(self._transport, self.keys, per_minute) if per_minute is not None else None
        self.health = Health()
        self.watch = Watch(self._transport, self.keys, self._do)
        self._places = asyncio.Semaphore(MAX_REQUESTS)
        self._backends: OrderedDict[str, RedisBackend] = OrderedDict()
        self._feeds: WeakValueDictionary[tuple[str, str], Feed] = WeakValueDictionary()
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the block lasts."""
        tasks = [asyncio.create_task(self.watch.keep()), asyncio.create_task(self.trail.keep())]
        try:
            yield
        finally:
            for task in tasks:
                await _ended(task)
            await self.trail.end()
            await self._transport.close()

    async def run(self, flow: Flow[A]) -> A:
        """Carry a flow out.

        Raises:
            BrokerUnavailable: Redis does not answer in time.
        """
        return await carry_out_async(flow, self._do)

    async def _do(self, step: Any) -> Any:
        async with self._bounded():
            return await self._transport.do(step)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with self._places, asyncio.timeout(ANSWER_S):
                yield
        except TimeoutError as exc:
            raise BrokerUnavailable(f"Redis did not answer within {ANSWER_S:g} s") from exc

    def backend(self, tenant: str) -> RedisBackend:
        """The requests of one tenant."""
        found = self._backends.get(tenant)
        if found is None:
            given = {name: getattr(self.settings, name) for name in type(self.settings).model_fields}
            found = RedisBackend(ApiSettings.model_construct(**{**given, "tenant": tenant}))
        return _kept(self._backends, tenant, found)

    def feed(self, backend: RedisBackend, job: str) -> Feed:
        """The job's events, as long as somebody follows them."""
        return self._feeds.setdefault((backend.tenant, job), Feed(job, self.run, backend))

    async def caller(self, shown: str | None) -> Caller:
        """Who shows this key.

        Raises:
            Unauthorized: None is shown and one is needed, or it is not good.
        """
        if self.pepper is None:
            return Caller(self.settings.tenant, None)
        if shown is None:
            raise Unauthorized("a key is needed", hint="send Authorization: Bearer lbx_... or X-API-Key")
        found = _access.checked(await self._look(shown), self.pepper, shown, time.time())
        return Caller(found.tenant, found)

    async def count(self, caller: Caller, rates: Rates) -> None:
        """Count a request of the caller, where the operator bounds them.

        Raises:
            QuotaExceeded: It is one too many.
            BrokerUnavailable: Redis does not answer in time.
        """
        if self._limit is None:
            return
        who = f"tenant {caller.tenant}" if caller.key is None else f"key {caller.key.id}"
        async with self._bounded():
            rates.note(await self._limit.hit(who))

    async def _look(self, shown: str) -> ApiKey | None:
        # What cannot be a key is looked up all the same: how long it takes must not tell which ids there are.
        key = _access.id_of(shown) or "none"
        until, known = self._known.get(key, (0.0, None))
        if time.monotonic() < until:
            return known
        found: ApiKey | None = await self._do(_access.look(self.keys, key))
        if found is None:
            self._known.pop(key, None)
        else:
            _kept(self._known, key, (time.monotonic() + KEY_FRESH_S, found))
        return found


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: what it waits for may lose a cancel (redis-py 8.1, about once in 300 stops)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.error("a task of the API had ended", exc_info=exc)


def _kept(known: "OrderedDict[str, A]", name: str, value: A) -> A:
    """Remember a value; the one that was not used for longest goes first."""
    known[name] = value
    known.move_to_end(name)
    if len(known) > _MAX_KNOWN:
        known.popitem(last=False)
    return value


@dataclass(frozen=True, slots=True)
class Desk:
    """One request's way to the queue: the service as its caller may use it.

    Attributes:
        notes: What the audit log says of it beside its route: `target`, names and counts.
    """

    service: Service
    caller: Caller
    backend: RedisBackend
    notes: dict[str, str | int] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)

    @property
    def tenant(self) -> str:
        """Whose request it is."""
        return self.caller.tenant

    async def run(self, flow: Flow[A]) -> A:
        """As `Service.run`."""
        return await self.service.run(flow)


def service_of(connection: HTTPConnection) -> Service:
    """The application's service."""
    found = connection.app.state.service
    assert isinstance(found, Service)
    return found


async def caller_of(connection: HTTPConnection, shown: str | None) -> Caller:
    """As `Service.caller`, and noted for the audit log."""
    connection.state.shown = shown
    caller = await service_of(connection).caller(shown)
    connection.state.caller = caller
    telling.asked_by(caller.tenant)
    return caller


async def desk(connection: HTTPConnection, *scopes: str, by_cookie: bool = False) -> Desk:
    """A desk for whoever shows a key with these scopes, by either header, or where it is said by the page's cookie.

    Raises:
        Unauthorized: No good key.
        QuotaExceeded: It has asked too often.
        Forbidden: A scope is missing.
        InvalidSpec: As `parameters.check`.
    """
    service = service_of(connection)
    shown = _shown(connection)
    if shown is None and by_cookie:
        shown = connection.cookies.get(KEY_COOKIE)
    caller = await caller_of(connection, shown)
    rates = rates_of(connection.scope)
    await service.count(caller, rates)
    caller.needs(*scopes)
    parameters.check(connection)
    made = Desk(service, caller, service.backend(caller.tenant), rates=rates)
    connection.state.notes = made.notes
    return made


def _shown(connection: HTTPConnection) -> str | None:
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else connection.headers.get("x-api-key")


async def may_read(connection: HTTPConnection) -> bool:
    """Whether whoever asks may read jobs; where no key is needed, everybody may. It is not counted as a request.

    Raises:
        BrokerUnavailable: Redis does not answer in time.
    """
    try:
        caller = await service_of(connection).caller(_shown(connection))
        caller.needs("jobs:read")
    except (Unauthorized, Forbidden):
        return False
    return True


def _desk_for(*scopes: str, by_cookie: bool = False) -> Any:
    async def _found(
        connection: HTTPConnection,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        _header: Annotated[str | None, Security(_header)],
    ) -> Desk:
        return await desk(connection, *scopes, by_cookie=by_cookie)

    return Depends(_found)


ReadJobs = Annotated[Desk, _desk_for("jobs:read")]
# A browser's EventSource sends no header of ours; what only reads may take the cookie in its place.
FollowJobs = Annotated[Desk, _desk_for("jobs:read", by_cookie=True)]
WriteJobs = Annotated[Desk, _desk_for("jobs:write")]
ReadSessions = Annotated[Desk, _desk_for("sessions:read")]
WriteSessions = Annotated[Desk, _desk_for("sessions:write")]
WriteSessionJobs = Annotated[Desk, _desk_for("sessions:write", "jobs:write")]
Admin = Annotated[Desk, _desk_for("admin")]
