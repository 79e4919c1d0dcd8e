"""Which backend and which transport does a URL ask for?"""

from typing import Any

from leasebox._backend import AsyncTransport, Backend, Transport
from leasebox.config import ClientSettings, traces_wanted
from leasebox.contract.telemetry import traces


def backend_of(settings: ClientSettings) -> Backend[Any]:
    """The backend that the URL asks for; without one it is the embedded stack's Redis.

    Raises:
        ConfigError: The settings contradict each other.
    """
    if traces_wanted():
        traces.want("leasebox")
    if is_http(settings.url):
        from leasebox._http_batches import ManyHttpBackend

        return ManyHttpBackend(settings)
    from leasebox._redis_backend import RedisBackend

    return RedisBackend(settings)


def transport_of(settings: ClientSettings, url: str) -> Transport:
    """A blocking transport to `url`.

    Raises:
        ConfigError: The URL is malformed.
    """
    if is_http(url):
        from leasebox._http import HttpTransport

        return HttpTransport(url, key_of(settings))
    from leasebox._redis import RedisTransport

    return RedisTransport(url)


def async_transport_of(settings: ClientSettings, url: str) -> AsyncTransport:
    """`transport_of` for asyncio."""
    if is_http(url):
        from leasebox._http import AsyncHttpTransport

        return AsyncHttpTransport(url, key_of(settings))
    from leasebox._redis import AsyncRedisTransport

    return AsyncRedisTransport(url)


def is_http(url: str | None) -> bool:
    """Whether the URL is that of the HTTP API."""
    return url is not None and url.startswith(("http://", "https://"))


def key_of(settings: ClientSettings) -> str | None:
    """The API key in clear, for the header alone."""
    return settings.api_key.get_secret_value() if settings.api_key is not None else None
