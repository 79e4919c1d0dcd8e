"""How are a tenant's webhooks checked, looked at, repeated and tried out, step by step?"""

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from leasebox import _reads
from leasebox._ids import new_job_id
from leasebox._reads import Flow, Query, fields_of, text_of
from leasebox.contract.callbacks import Target, objection, target_of
from leasebox.contract.errors import InvalidSpec, WrongState
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers
from leasebox.contract.scripts import webhooks as scripts

_HINT_SECRET = "the operator sets LEASEBOX_WEBHOOK_SECRET on the workers"
_HINT_ALLOW = "LEASEBOX_WEBHOOK_ALLOW of the workers names hosts that may be private or plain http"


class Trial(NamedTuple):
    """A message of type `test` on its way: its id, for `tried`, and the host that it goes to."""

    id: str
    host: str


class Delivery(BaseModel):
    """An attempt to deliver a webhook.

    Attributes:
        at: When it ended.
        status: That the receiver answered, if it did.
        error: Why it counts as not delivered; None = it was.
        attempt: Counts from 1, and anew from a replay on.
        next_at: When the next attempt is due; None = there is none.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)

    at: float
    url: str
    status: int | None
    error: str | None
    attempt: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the nodes have published of where webhooks may go.

    Attributes:
        is_known: A node has published its settings.
        allowed: Hosts that may be private or plain http; None = no node sends webhooks.
    """

    is_known: bool = False
    allowed: frozenset[str] | None = None

    def check(self, url: str | None) -> None:
        """Refuse early a URL to which no worker would send; passes where no node has published its settings yet.

        Raises:
            InvalidSpec: Says why; nothing was queued.
        """
        if url is None or not self.is_known:
            return
        if self.allowed is None:
            raise InvalidSpec("callback_url: no worker sends webhooks", hint=_HINT_SECRET)
        _check("callback_url", url, self.allowed)


def _check(field: str, url: str, allowed: frozenset[str]) -> Target:
    try:
        target = target_of(url)
    except ValueError as exc:
        raise InvalidSpec(f"{field}: {exc}") from None
    why = objection(target, allowed)
    if why is not None:
        raise InvalidSpec(f"{field}: {why}", hint=_HINT_ALLOW)
    return target


def rules(keys: Keys) -> Query[Rules]:
    """The nodes' rules."""

    def _parse(replies: list[object]) -> Rules:
        known, allowed = replies
        hosts = None if allowed is None else frozenset(filter(None, text_of(allowed).split(",")))
        return Rules(bool(known), hosts)

    return Query((("EXISTS", keys.settings()), ("HGET", keys.settings(), "webhook_allow")), _parse)


def deliveries(keys: Keys, tenant: str, subject: str) -> Flow[list[Delivery]]:
    """The last attempts of a job or batch, in their order; none where no webhook was asked for.

    Raises:
        UnknownJob: There is neither a job nor a batch of this id in this tenant.
    """
    tenants = yield Query(
        (("HGET", keys.job(subject), "tenant"), ("HGET", keys.batch(subject), "tenant")),
        lambda replies: [text_of(reply) for reply in replies],
    )
    if tenant not in tenants:
        raise _reads.no_job(subject)
    member = subject if tenants[0] == tenant else keys.batch(subject)
    return (yield _attempts(keys, member))  # type: ignore[no-any-return]


def replay(keys: Keys, tenant: str, subject: str) -> Flow[None]:
    """Deliver the end of a job or batch once more.

    Raises:
        UnknownJob: As for `deliveries`.
        WrongState: It has not ended, or nobody asked for a webhook.
    """
    answer = yield scripts.replay_job(keys, job=subject, tenant=tenant)
    if isinstance(answer, answers.Gone):
        answer = yield scripts.replay_batch(keys, batch=subject, tenant=tenant)
    match answer:
        case answers.Gone():
            raise _reads.no_job(subject)
        case scripts.NoCallback():
            raise WrongState(f"{subject} has no callback_url")
        case scripts.NotEnded():
            raise WrongState(f"{subject} has not ended", hint="its webhook is sent at its end")


def try_out(keys: Keys, tenant: str, url: str) -> Flow[Trial]:
    """Ask the workers to send a sign of life to a receiver.

    Raises:
        InvalidSpec: No worker would send to this URL.
        WrongState: No worker sends webhooks.
    """
    found: Rules = yield rules(keys)
    if found.allowed is None:
        raise WrongState("no worker sends webhooks", hint=_HINT_SECRET)
    target = _check("url", url, found.allowed)
    test = new_job_id()
    yield scripts.try_out(keys, test=test, tenant=tenant, url=url)
    return Trial(test, target.host)


def tried(keys: Keys, test: str) -> Flow[list[Delivery]]:
    """What came of `try_out`; empty until a worker has told."""
    return (yield _attempts(keys, keys.webhook_test(test)))  # type: ignore[no-any-return]


def _attempts(keys: Keys, member: str) -> Query[list[Delivery]]:
    return Query(
        (("XRANGE", keys.webhook_log(member), "-", "+"),),
        lambda replies: [_delivery(fields_of(fields)) for _, fields in replies[0]],
    )


def _delivery(fields: dict[str, str]) -> Delivery:
    return Delivery(
        at=float(fields["at"]),
        url=fields["url"],
        status=int(fields["status"]) if fields["status"] else None,
        error=fields["error"] or None,
        attempt=int(fields["attempt"]),
        next_at=float(fields["next_at"]) if fields["next_at"] else None,
    )
