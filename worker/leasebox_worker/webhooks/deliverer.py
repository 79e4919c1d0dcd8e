"""Who delivers what is due? Every node that has the secret, each delivery by one of them at a time, many at once.

At least once: an attempt is claimed for `lease_s`, and one whose end nobody tells in that time is due again.
"""

import asyncio

import redis
import structlog

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, webhooks
from leasebox.contract.scripts.webhooks import Claim
from leasebox.contract.telemetry import traces
from leasebox_worker.telemetry.metrics import WEBHOOKS
from leasebox_worker.webhooks.attempts import Answer, wait_after
from leasebox_worker.webhooks.message import Message, read
from leasebox_worker.webhooks.post import Poster

log = structlog.get_logger()

LEASE_S = 30.0
"""Well above `post.WITHIN_S` and what Redis may take, so that only a dead node loses a delivery to another."""
PLACES = 64
"""Deliveries at the same time, so that receivers which do not answer keep few others waiting."""
LOOK_S = 1.0


class Deliverer:
    """Delivers for one node."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        poster: Poster,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._redis = client
        self._run = Runner(client).run
        self._keys = keys
        self._poster = poster
        self._lease_s = lease_s
        self._is_stopping = False

    def stop(self) -> None:
        """Begin no further delivery; those under way have a few seconds left."""
        self._is_stopping = True

    def look(self) -> None:
        """Deliver what is due, until nothing is.

        Raises:
            redis.RedisError: Redis does not answer; nothing was begun.
        """
        if claims := self._claim(PLACES):
            asyncio.run(self._deliver(claims))

    def _claim(self, limit: int) -> tuple[Claim, ...]:
        if self._is_stopping or limit == 0:
            return ()
        return self._run(webhooks.claim(self._keys, limit=limit, lease_s=self._lease_s))

    async def _deliver(self, claims: tuple[Claim, ...]) -> None:
        under_way = {asyncio.create_task(self._attempt(claim)) for claim in claims}
        while under_way:
            done, under_way = await asyncio.wait(under_way, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (failure := task.exception()) is not None:  # of ours: its delivery is due again when its lease ends
                    log.error("webhook_attempt_failed", reason=repr(failure))
            try:
                more = await asyncio.to_thread(self._claim, PLACES - len(under_way))
            except redis.RedisError as exc:
                log.warning("webhooks_not_claimed", reason=repr(exc))
                continue
            under_way |= {asyncio.create_task(self._attempt(claim)) for claim in more}

    async def _attempt(self, claim: Claim) -> None:
        try:
            message = await asyncio.to_thread(read, self._redis, self._keys, claim.member)
            if message is not None:  # else its record is forgotten, and the next claim drops it
                await self._carry(claim, message)
        except redis.RedisError as exc:
            log.warning("webhook_not_told", member=claim.member, attempt=claim.attempt, reason=repr(exc))

    async def _carry(self, claim: Claim, message: Message) -> None:
        values: traces.Values = {traces.JOB: message.id, traces.ATTEMPT: claim.attempt}
        with traces.span("leasebox.webhook", kind="client", parent=message.traceparent, values=values) as span:
            answer = await self._poster.post(message)
            span.note({"http.response.status_code": answer.status})
            if answer.error is not None:
                span.failed()
        wait_s = wait_after(answer, claim.attempt, is_test=message.is_test)
        told = webhooks.settle(self._keys, claim=claim, status=answer.status, error=answer.error, wait_s=wait_s)
        await asyncio.to_thread(self._run, told)
        _report(message.id, claim.attempt, answer, wait_s)


def _report(message_id: str, attempt: int, answer: Answer, wait_s: float | None) -> None:
    given = {"id": message_id, "attempt": attempt, "status": answer.status}
    if answer.error is None:
        WEBHOOKS.labels("delivered").inc()
        log.info("webhook_delivered", **given)
    elif wait_s is None:
        WEBHOOKS.labels("given_up").inc()
        log.warning("webhook_given_up", reason=answer.error, **given)
    else:
        WEBHOOKS.labels("failed").inc()
        log.info("webhook_failed", reason=answer.error, again_in_s=wait_s, **given)
