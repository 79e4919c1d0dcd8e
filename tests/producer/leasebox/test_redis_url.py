"""Which URLs of a Redis are taken, and what is said of the others: a sentence, before anything is sent."""

import asyncio

import pytest

from leasebox._redis import AsyncRedisTransport, RedisTransport, redis_url
from leasebox.contract.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://h", "rediss://h"),
        ("unix:///s?db=1", "unix:///s?db=1"),
        ("redis+socket:///s?virtual_host=3", "unix:///s?db=3"),
        ("redis+socket://u:p@/s", "unix://u:p@/s?db=0"),
    ],
)
def test_each_form_of_a_url_is_taken(url: str, place: str):
    assert redis_url(url) == place
    RedisTransport(url).close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("banana", "no known scheme"),
        ("redis://h:99999/0", "is not a URL"),
        ("redis+socket://[::1/s", "is not a URL"),
        ("redis://h/0?password=geheim&spead=9", "there is no option 'spead'"),
        ("redis://h/0?socket_timeout=x&password=geheim", "socket_timeout"),
    ],
)
def test_what_cannot_be_a_redis_is_refused_at_once_and_no_password_is_told(url: str, told: str):
    with pytest.raises(ConfigError, match=told) as refused:
        RedisTransport(url)

    assert "geheim" not in str(refused.value)


def test_the_asynchronous_transport_refuses_the_same():
    async def _made() -> None:
        AsyncRedisTransport("redis://h/0?spead=9")

    with pytest.raises(ConfigError, match="there is no option 'spead'"):
        asyncio.run(_made())
