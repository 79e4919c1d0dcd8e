"""What do the tests of the API stand on? An API without keys, one with keys, and what is needed to ask them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from redis import Redis
from tests.producer.leasebox.conftest import PlayedWorker
from tests.producer.leasebox.served import served

from leasebox import _access
from leasebox._redis import RedisTransport
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys

PEPPER = "a pepper for the tests"
Failing = Callable[..., None]


@pytest.fixture
def http(settings: ClientSettings) -> Iterator[httpx2.Client]:
    """Asks an API that needs no key."""
    with served(settings) as url, httpx2.Client(base_url=url, timeout=30) as client:
        yield client


@dataclass(frozen=True)
class Keyed:
    """An API with keys."""

    url: str
    settings: ClientSettings

    def key(self, tenant: str, *scopes: str, expires_at: float | None = None) -> _access.IssuedKey:
        """Make a key."""
        transport = RedisTransport(str(self.settings.url))
        granted = scopes or ("jobs:read", "jobs:write", "sessions:*")
        flow = _access.create(Keys(self.settings.prefix), PEPPER.encode(), tenant, granted, expires_at)
        try:
            return transport.run(flow)
        finally:
            transport.close()

    def client(self, key: str | None) -> httpx2.Client:
        """Asks with a key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30)


@pytest.fixture
def keyed(settings: ClientSettings) -> Iterator[Keyed]:
    """An API that needs keys."""
    with served(settings, key_pepper=PEPPER) as url:
        yield Keyed(url, settings)


@pytest.fixture
def fail(redis: Redis, settings: ClientSettings, played: PlayedWorker, eventually: Any) -> Failing:
    """Ends the operation that is queued, or will be, with an outcome and an error."""
    queued = Keys(settings.prefix).tenant_queued(settings.tenant)

    def end(outcome: str, **error: str) -> None:
        eventually(lambda: redis.scard(queued) == 1, within_s=20)
        (job,) = redis.smembers(queued)
        failure = {"name": "E", "message": "why", **error}
        played.end(played.begin(job), outcome, exit_code=None, error=failure)

    return end
