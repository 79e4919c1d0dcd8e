"""How does a worker reach its Redis, and which installation is that?"""

import time
import uuid

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from leasebox.contract.errors import BrokerUnavailable, ConfigError
from leasebox.contract.keys import Keys

log = structlog.get_logger()

UP_WITHIN_S = 10.0
RETRY_S = 0.25
ANSWER_WITHIN_S = 5.0
"""Longer than the longest block (1 s) and than any of our scripts."""
MIN_REDIS = (7, 0)


def connect(url: str, *, timeout_s: float = ANSWER_WITHIN_S) -> redis.Redis:
    """A client that reconnects at once when its connection was cut, and then tells: who may wait, waits by itself.

    Args:
        timeout_s: Without an answer for so long a connection is given up, so that no thread hangs on a dead peer.

    Raises:
        ConfigError: The URL is none of redis, rediss, redis+socket.
        BrokerUnavailable: Nobody answers there, or not with this password.
    """
    url = url.replace("redis+socket://", "unix://").replace("?virtual_host=", "?db=")
    is_tcp = not url.startswith("unix:")
    try:
        client = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[redis.ConnectionError],
            health_check_interval=25,
            socket_timeout=timeout_s,
            **({"socket_connect_timeout": timeout_s, "socket_keepalive": True} if is_tcp else {}),
        )
        version = client.info("server")["redis_version"]
    except redis.AuthenticationError as exc:
        raise ConfigError("Redis refused the password", hint="check LEASEBOX_URL") from exc
    except redis.RedisError as exc:
        raise BrokerUnavailable(f"no Redis answers: {exc}", hint="start it, or set LEASEBOX_URL") from exc
    except ValueError as exc:
        raise ConfigError(f"LEASEBOX_URL: {exc}", hint="write redis://HOST:PORT/0") from exc
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_REDIS:
        raise ConfigError(f"Redis {version} is too old", hint="Redis or Valkey 7.0 or later is needed")
    return client


def connect_in_time(url: str, *, timeout_s: float = ANSWER_WITHIN_S, within_s: float = UP_WITHIN_S) -> redis.Redis:
    """As `connect`, for a worker that starts while its Redis does: hosts come up together.

    Raises:
        ConfigError: As `connect`.
        BrokerUnavailable: Nobody answers within `within_s`.
    """
    deadline, is_told = time.monotonic() + within_s, False
    while True:
        try:
            return connect(url, timeout_s=timeout_s)
        except BrokerUnavailable as exc:
            if time.monotonic() > deadline:
                raise
            if not is_told:
                log.warning("redis_awaited", reason=str(exc), within_s=within_s)
            is_told = True
            time.sleep(RETRY_S)


def installation_of(client: redis.Redis, keys: Keys) -> str:
    """The id of the installation that this Redis holds; made by whoever asks first."""
    client.set(keys.installation(), uuid.uuid4().hex[:12], nx=True)
    value = client.get(keys.installation())
    assert isinstance(value, bytes)
    return value.decode()
