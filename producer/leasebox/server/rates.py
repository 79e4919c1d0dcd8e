"""How often may one key ask, and what is a client told of the rates that bind it?

Headers: draft-ietf-httpapi-ratelimit-headers-06, `RateLimit-Limit`, `-Remaining`, `-Reset` (seconds) and `-Policy`.
Of several rates, the one is told that leaves the least.
"""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from leasebox import _quota
from leasebox._redis import AsyncRedisTransport, translated
from leasebox.contract.keys import Keys
from leasebox.contract.scripts.client_answers import SubmitPace

WINDOW_S = 60
REQUESTS, SUBMITS = "requests_per_minute", "submits_per_minute"
HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a minute, of which so many are left; `reset_s`: until there are more."""

    bound: int
    left: int
    reset_s: float


class Rates:
    """The rates that one request met."""

    def __init__(self) -> None:
        self._tightest: Rate | None = None

    def note(self, rate: Rate) -> None:
        """Tell of this rate, unless one was met that leaves less."""
        if self._tightest is None or rate.left < self._tightest.left:
            self._tightest = rate

    def submitted(self, pace: SubmitPace | None) -> None:
        """Tell of how often the tenant may submit, if that is bound."""
        if pace is not None:
            self.note(Rate(pace.bound, pace.left, pace.reset_s))

    def refused(self, members: _quota.Members) -> None:
        """Tell of the rate that a refusal names, if it names one."""
        bound, reset_s = members.get("bound"), members.get("retry_after_s")
        if members.get("quota") in (REQUESTS, SUBMITS) and bound is not None:
            self.note(Rate(int(bound), 0, reset_s or 0.0))

    def tell(self, headers: MutableHeaders) -> None:
        """Write the headers."""
        rate = self._tightest
        if rate is not None:
            texts = (rate.bound, max(0, rate.left), max(1, math.ceil(rate.reset_s)), f"{rate.bound};w={WINDOW_S}")
            for name, text in zip(HEADERS, texts, strict=True):
                headers[name] = str(text)


def rates_of(scope: Scope) -> Rates:
    """Those of a request, which `gate` has begun."""
    found = scope["state"]["rates"]
    assert isinstance(found, Rates)
    return found


class RequestLimit:
    """So many requests of each caller in any minute, counted in Redis by all API processes together."""

    def __init__(self, transport: AsyncRedisTransport, keys: Keys, per_minute: int) -> None:
        # With a pool given, the URL is but the name of the kind of storage.
        given = {"implementation": "redispy", "key_prefix": keys.requests(), "connection_pool": transport.pool}
        self._limiter = SlidingWindowCounterRateLimiter(RedisStorage("async+redis://", **given))  # type: ignore[arg-type]
        self._item = RateLimitItemPerMinute(per_minute)
        self._url = transport.url

    async def hit(self, who: str) -> Rate:
        """Count a request; a refused one does not count.

        Raises:
            QuotaExceeded: As many were made in the last minute.
            BrokerUnavailable: Redis does not answer.
        """
        with translated(self._url):
            is_allowed = await self._limiter.hit(self._item, who)
            reset_at, left = await self._limiter.get_window_stats(self._item, who)
        rate = Rate(self._item.amount, left, max(0.0, reset_at - time.time()))
        if not is_allowed:
            raise _quota.at_bound(who, REQUESTS, rate.bound, max(1.0, rate.reset_s))
        return rate
