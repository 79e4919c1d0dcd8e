"""How the clients speak to Redis: one transport for each world, the same steps in both, and every error made ours."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from leasebox._reads import Ahead, Flow, Landed, Step, text_of
from leasebox.config import hide_password
from leasebox.contract.carry import carry_out, carry_out_async
from leasebox.contract.errors import BrokerUnavailable, ConfigError, LeaseboxError, QueueFull
from leasebox.contract.scripts import AsyncRunner, Call, Conversation, Runner

A = TypeVar("A")
CLIENT_NAME = "leasebox-client"
MAX_BLOCK_S = 5.0
# Longer than any BLOCK, so that a quiet stream is not taken for a dead connection.
_READ_TIMEOUT_S = MAX_BLOCK_S + 10.0
_CONNECT_TIMEOUT_S = 5.0
_SCHEMES = ("redis", "rediss", "unix")


def redis_url(url: str) -> str:
    """The URL as redis-py wants it; Celery's `redis+socket:///path?virtual_host=0` becomes `unix:///path?db=0`.

    Raises:
        ConfigError: The scheme is none of ours, or the URL is malformed.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ConfigError(f"LEASEBOX_URL: {hide_password(url)} is not a URL: {exc}") from exc
    if parts.scheme == "redis+socket":
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        database = query.pop("virtual_host", query.pop("db", "0"))
        credentials = parts.netloc.rpartition("@")[0]
        return f"unix://{credentials + '@' if credentials else ''}{parts.path}?{urlencode({**query, 'db': database})}"
    if parts.scheme in ("http", "https"):
        raise ConfigError(f"{url} is the HTTP API; this needs Redis itself", hint="give a redis:// URL")
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"LEASEBOX_URL: {hide_password(url)} has no known scheme",
            hint="write redis://HOST:6379/0, rediss://..., or redis+socket:///PATH",
        )
    return url


def options(retries: int) -> dict[str, Any]:
    """What every connection of ours has.

    Source: CELERY.md section 1.2, rule (v).
    """
    return {
        "decode_responses": False,
        "protocol": 2,
        "client_name": CLIENT_NAME,
        "socket_timeout": _READ_TIMEOUT_S,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "health_check_interval": 25,
        "retry_on_error": [RedisConnectionError, RedisTimeoutError, BusyLoadingError],
        "_retries": retries,
    }


def _arguments(url: str, retries: int, retry_class: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    given = options(retries)
    given["retry"] = retry_class(ExponentialBackoff(cap=1, base=0.02), given.pop("_retries"))
    place = redis_url(url)
    if place.startswith("unix:"):
        given.pop("socket_connect_timeout")
    return place, given


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Make every error of redis-py one of ours; the message says what happened to which server, and what to do.

    Raises:
        ConfigError: Wrong user or password, a missing permission, or a server that is too old.
        QueueFull: Redis is at its memory limit.
        BrokerUnavailable: Everything that may pass.
    """
    place = hide_password(url)
    try:
        yield
    except AuthenticationError as exc:
        raise ConfigError(f"Redis at {place} refused user or password", hint="check LEASEBOX_URL") from exc
    except NoPermissionError as exc:
        raise ConfigError(f"Redis at {place} forbids this user a command: {exc}", hint="extend the user's ACL") from exc
    except OutOfMemoryError as exc:
        raise QueueFull(f"Redis at {place} is at its memory limit", hint="try later, or raise maxmemory") from exc
    except ReadOnlyError as exc:
        raise BrokerUnavailable(f"Redis at {place} is a read-only replica", hint="point at the primary") from exc
    except BusyLoadingError as exc:
        raise BrokerUnavailable(f"Redis at {place} is still loading its data", hint="try again in a moment") from exc
    except RedisTimeoutError as exc:
        raise BrokerUnavailable(f"Redis at {place} did not answer in time", hint=_HINT) from exc
    except (RedisConnectionError, OSError) as exc:
        raise BrokerUnavailable(f"cannot reach Redis at {place}: {_why(exc)}", hint=_HINT) from exc
    except ResponseError as exc:
        raise _refused(place, str(exc)) from exc
    except RedisError as exc:
        raise BrokerUnavailable(f"Redis at {place} failed: {exc}") from exc


def told_apart(url: str, answers: Sequence[A | RedisError]) -> list[A | LeaseboxError]:
    """The answers of many calls, with each error made ours where it stands."""
    return [_ours(url, answer) if isinstance(answer, RedisError) else answer for answer in answers]


def _ours(url: str, error: RedisError) -> LeaseboxError:
    try:
        with translated(url):
            raise error
    except LeaseboxError as exc:
        return exc


_HINT = "is it running, and is LEASEBOX_URL right? `leasebox doctor` looks"


def _why(exc: BaseException) -> str:
    """The root of the chain says why ("Connection refused"); redis-py wraps it in its own words."""
    root = exc
    while root.__cause__ is not None or root.__context__ is not None:
        root = root.__cause__ or root.__context__  # type: ignore[assignment]
    return getattr(root, "strerror", None) or str(root) or type(root).__name__


def _refused(place: str, text: str) -> Exception:
    if text.startswith(("WRONGPASS", "NOAUTH", "invalid password", "invalid username")):
        return ConfigError(f"Redis at {place} refused user or password", hint="check LEASEBOX_URL")
    if "maxmemory" in text or text.startswith("OOM"):
        return QueueFull(f"Redis at {place} is at its memory limit", hint="try later, or raise maxmemory")
    if "unknown command" in text or "DB index" in text:
        return ConfigError(f"Redis at {place} cannot serve Leasebox: {text}", hint="Redis or Valkey >= 7.0 is needed")
    return BrokerUnavailable(f"Redis at {place} refused a request: {text}")


def _may_pass(error: Exception) -> bool:
    # A wrong password is a kind of ConnectionError to redis-py, and no better the ninth time.
    return not isinstance(error, AuthenticationError)


class _Retry(Retry):
    def call_with_retry(self, do: Any, fail: Any, is_retryable: Any = None, with_failure_count: bool = False) -> Any:
        """As redis-py's, but only what may pass is tried again."""
        return super().call_with_retry(do, fail, is_retryable or _may_pass, with_failure_count)


class RedisTransport:
    """Carries out flows over one pool of blocking connections; safe to share between threads."""

    def __init__(self, url: str, *, retries: int = 8) -> None:
        self.url = url
        place, given = _arguments(url, retries, _Retry)
        with _well_formed(url):
            self._redis = redis.Redis.from_url(place, **given)
            _try_options(self._redis.connection_pool)
        self._runner = Runner(self._redis)

    def run(self, flow: Flow[A]) -> A:
        """Carry a flow out to its end; an error of Redis is thrown into it, so that it may cope."""
        return carry_out(flow, self.do)

    def do(self, step: Step) -> Any:
        """Carry one step out."""
        with translated(self.url):
            if isinstance(step, Ahead):
                talk = step.behind or Conversation(self._redis, self._runner)
                talk.send(step.calls)
                return talk
            if isinstance(step, Landed):
                return told_apart(self.url, step.sent.answers())
            if isinstance(step, Call):
                return self._runner.run(step)
            if not step.commands:
                return step.parse([])
            if len(step.commands) == 1:
                return step.parse([self._redis.execute_command(*step.commands[0])])  # type: ignore[no-untyped-call]
            pipeline = self._redis.pipeline(transaction=False)
            for command in step.commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return step.meaning(pipeline.execute(raise_on_error=False))

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


class _AsyncRetry(AsyncRetry):
    async def call_with_retry(
        self, do: Any, fail: Any, is_retryable: Any = None, with_failure_count: bool = False
    ) -> Any:
        """As `_Retry`'s."""
        return await super().call_with_retry(do, fail, is_retryable or _may_pass, with_failure_count)


class AsyncRedisTransport:
    """`RedisTransport` for one event loop."""

    def __init__(self, url: str, *, retries: int = 8) -> None:
        self.url = url
        place, given = _arguments(url, retries, _AsyncRetry)
        with _well_formed(url):
            self._redis = redis.asyncio.Redis.from_url(place, **given)
            _try_options(self._redis.connection_pool)
        self._runner = AsyncRunner(self._redis)

    @property
    def pool(self) -> redis.asyncio.ConnectionPool:
        """Its connections, for a library that speaks to the same Redis."""
        return self._redis.connection_pool

    async def run(self, flow: Flow[A]) -> A:
        """As `RedisTransport.run`."""
        return await carry_out_async(flow, self.do)

    async def do(self, step: Step) -> Any:
        """As `RedisTransport.do`."""
        if isinstance(step, Landed):
            return step.sent.popleft()
        with translated(self.url):
            if isinstance(step, Call):
                return await self._runner.run(step)
            if isinstance(step, Ahead):  # what one loop makes and reads takes turns anyway
                landed = deque() if step.behind is None else step.behind
                landed.append(told_apart(self.url, await self._runner.run_each(step.calls)))
                return landed
            if not step.commands:
                return step.parse([])
            if len(step.commands) == 1:
                reply: Awaitable[Any] = self._redis.execute_command(*step.commands[0])  # type: ignore[no-untyped-call]
                return step.parse([await reply])
            pipeline = self._redis.pipeline(transaction=False)
            for command in step.commands:
                pipeline.execute_command(*command)
            return step.meaning(await pipeline.execute(raise_on_error=False))

    async def heard(self, channel: str) -> AsyncIterator[str | None]:
        """What is published on a channel, over a connection of its own; None whenever that connection is new.

        Raises:
            BrokerUnavailable: The connection broke; begin anew.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(translated(self.url))
            listener = await stack.enter_async_context(self._redis.pubsub())
            await listener.subscribe(channel)
            while True:
                # The timeout lets redis-py look whether a silent connection is still alive.
                message = await listener.get_message(timeout=MAX_BLOCK_S)
                if message is not None and message["type"] in ("subscribe", "message"):
                    yield text_of(message["data"]) if message["type"] == "message" else None

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


@contextmanager
def _well_formed(url: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as exc:
        unknown = str(exc).partition("unexpected keyword argument ")[2]
        told = f"there is no option {unknown}" if unknown else str(exc)
        raise ConfigError(f"LEASEBOX_URL: {hide_password(url)}: {told}") from exc


def _try_options(pool: redis.ConnectionPool | redis.asyncio.ConnectionPool) -> None:
    # Options behind the `?` go unread until the first connection is made, which would be in the midst of a job.
    pool.connection_class(**pool.connection_kwargs)


def socket_path(url: str) -> str | None:
    """The path of a unix socket's URL, else None."""
    parts = urlsplit(redis_url(url))
    return unquote(parts.path) if parts.scheme == "unix" else None
