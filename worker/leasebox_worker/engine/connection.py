"""How does a worker reach its Redis, and which installation is that?"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from leasebox.contract.errors import BrokerUnavailable, ConfigError
from leasebox.contract.keys import Keys

ANSWER_WITHIN_S = 5.0
"""Longer than the longest block (1 s) and than any of our scripts."""
MIN_REDIS = (7, 0)
_ONCE_MORE = Retry(NoBackoff(), 1)
_WHILE_STARTING = Retry(ExponentialBackoff(cap=0.5, base=0.02), 24, supported_errors=(redis.ConnectionError,))
"""Some 10 s of refused connections; a host that does not answer at all is given up at once."""


def client_of(url: str, *, timeout_s: float = ANSWER_WITHIN_S, is_patient: bool = False) -> redis.Redis:
    """A client that reconnects at once when its connection was cut, and then tells: who may wait, waits by itself.

    Args:
        timeout_s: Without an answer for so long a connection is given up, so that no thread hangs on a dead peer.
        is_patient: For the start of a worker: each request waits some 10 s for a server that comes up too.

    Raises:
        ConfigError: The URL is none of redis, rediss, redis+socket.
    """
    url = url.replace("redis+socket://", "unix://").replace("?virtual_host=", "?db=")
    is_tcp = not url.startswith("unix:")
    try:
        return redis.Redis.from_url(
            url,
            retry=_WHILE_STARTING if is_patient else _ONCE_MORE,
            retry_on_error=[redis.ConnectionError],
            health_check_interval=25,
            socket_timeout=timeout_s,
            **({"socket_connect_timeout": timeout_s, "socket_keepalive": True} if is_tcp else {}),
        )
    except ValueError as exc:
        raise ConfigError(f"LEASEBOX_URL: {exc}", hint="write redis://HOST:PORT/0") from exc


def connect(url: str, *, timeout_s: float = ANSWER_WITHIN_S, is_patient: bool = False) -> redis.Redis:
    """As `client_of`, of a server that was seen to answer and to be new enough.

    Raises:
        ConfigError: As `client_of`; or the password is refused, or the server too old.
        BrokerUnavailable: Nobody answers there.
    """
    client = client_of(url, timeout_s=timeout_s, is_patient=is_patient)
    with answering():
        version = client.info("server")["redis_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_REDIS:
        raise ConfigError(f"Redis {version} is too old", hint="Redis or Valkey 7.0 or later is needed")
    return client


@contextmanager
def answering() -> Iterator[None]:
    """The border at which Redis' refusals become ours, for what cannot go on without it."""
    try:
        yield
    except redis.AuthenticationError as exc:
        raise ConfigError("Redis refused the password", hint="check LEASEBOX_URL") from exc
    except redis.ConnectionError as exc:
        raise BrokerUnavailable(f"no Redis answers: {exc}", hint="start it, or set LEASEBOX_URL") from exc
    except redis.RedisError as exc:
        raise BrokerUnavailable(f"Redis refused a request: {exc}", hint="`leasebox doctor` looks at it") from exc


def installation_of(client: redis.Redis, keys: Keys) -> str:
    """The id of the installation that this Redis holds; made by whoever asks first."""
    client.set(keys.installation(), uuid.uuid4().hex[:12], nx=True)
    value = client.get(keys.installation())
    assert isinstance(value, bytes)
    return value.decode()
