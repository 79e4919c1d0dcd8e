"""Which scripts carry webhooks?

webhook_claim webhook_settle, by the deliverer; webhook_replay webhook_test, by the API.
"""

from __future__ import annotations

from typing import NamedTuple

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, reader, text

TEST_KEPT_S = 600


class Claim(NamedTuple):
    """A delivery to attempt now.

    Attributes:
        member: Of the outbox: a job's id, or the key of the record of a batch or test.
        attempt: Counts from 1; a replay begins anew.
        lease: Until it has passed nobody else has the delivery.
    """

    member: str
    attempt: int
    lease: str


class Told(NamedTuple):
    """The attempt is in the log, and the delivery goes on or ends accordingly."""


class Taken(NamedTuple):
    """The lease had passed: the attempt is in the log, the delivery is in other hands."""


class Queued(NamedTuple):
    """It is delivered once more."""


class NoCallback(NamedTuple):
    """Nobody asked for a delivery."""


class NotEnded(NamedTuple):
    """It is delivered at its end, which has not come."""


SettleAnswer = Told | Taken | answers.Gone
ReplayAnswer = Queued | NoCallback | NotEnded | answers.Gone


def claim(keys: Keys, *, limit: int, lease_s: float) -> Call[tuple[Claim, ...]]:
    """Take what is due, 64 deliveries at most; those of forgotten records are dropped."""
    return Call("webhook_claim", (keys.webhook_due(),), (keys.names, limit, lease_s), _claims)


def settle(
    keys: Keys, *, claim: Claim, status: int | None, error: str | None, wait_s: float | None
) -> Call[SettleAnswer]:
    """Say what became of an attempt.

    Args:
        status: That was answered, if anything was.
        error: Why it counts as not delivered; None = it was.
        wait_s: Until the next attempt; None = there is none.
    """
    wait = "" if wait_s is None else wait_s
    args = (keys.names, claim.member, claim.lease, claim.attempt, wait, status or "", error or "")
    return Call("webhook_settle", (keys.webhook_due(),), args, _settle_answer)


def replay_job(keys: Keys, *, job: str, tenant: str) -> Call[ReplayAnswer]:
    """Deliver the end of a job once more."""
    return Call("webhook_replay", (keys.webhook_due(), keys.job(job)), (keys.names, job, tenant), _replay_answer)


def replay_batch(keys: Keys, *, batch: str, tenant: str) -> Call[ReplayAnswer]:
    """Deliver the end of a batch once more."""
    record = keys.batch(batch)
    return Call("webhook_replay", (keys.webhook_due(), record), (keys.names, record, tenant), _replay_answer)


def try_out(keys: Keys, *, test: str, tenant: str, url: str) -> Call[Queued]:
    """Deliver nothing but a sign of life to a receiver, once."""
    args = (keys.names, tenant, url, TEST_KEPT_S)
    return Call("webhook_test", (keys.webhook_due(), keys.webhook_test(test)), args, _test_answer)


_claims: Reader[tuple[Claim, ...]] = reader(
    {b"taken": lambda found: tuple(Claim(text(member), attempt, text(lease)) for member, attempt, lease in found)}
)
_settle_answer: Reader[SettleAnswer] = reader({b"ok": Told, b"taken": Taken, b"gone": answers.Gone})
_replay_answer: Reader[ReplayAnswer] = reader(
    {b"ok": Queued, b"none": NoCallback, b"busy": NotEnded, b"gone": answers.Gone}
)
_test_answer: Reader[Queued] = reader({b"ok": Queued})
