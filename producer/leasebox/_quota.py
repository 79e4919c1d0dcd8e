"""What is told of a bound that is reached: which one, what it is, and when to come again? In errors and over HTTP."""

from collections.abc import Mapping
from typing import TypedDict

from leasebox.contract.error_codes import rebuild
from leasebox.contract.errors import LeaseboxError, QueueError, QueueFull, QuotaExceeded
from leasebox.contract.scripts import client_answers


def quota_exceeded(answer: client_answers.Quota, tenant: str) -> QuotaExceeded:
    """The error for a tenant at one of its bounds."""
    return at_bound(f"tenant {tenant}", answer.which, answer.bound, answer.retry_after)


def at_bound(who: str, quota: str, bound: float, retry_after_s: float) -> QuotaExceeded:
    """The error for whoever has reached a bound; it tells the bound to the last digit."""
    error = QuotaExceeded(
        f"{who} is at its quota ({quota}: at most {bound:.15g})",
        hint=later(retry_after_s),
        retry_after_s=retry_after_s,
    )
    error.quota, error.bound = quota, bound
    return error


def queue_full(answer: client_answers.Full, priority: str) -> QueueFull:
    """The error for a queue that takes no more."""
    error = QueueFull(
        f"queue {priority} is full: {answer.queued} jobs wait, at most {answer.bound} may",
        hint=later(answer.retry_after),
        retry_after_s=answer.retry_after,
    )
    error.position = answer.queued
    return error


class Members(TypedDict, total=False):
    """What a problem document says of such an error beside its code and detail."""

    retry_after_s: float | None
    quota: str | None
    bound: float | None
    position: int | None


def members(error: LeaseboxError) -> Members:
    """What an error has to say of bounds, for a document."""
    match error:
        case QuotaExceeded():
            return Members(retry_after_s=error.retry_after_s, quota=error.quota, bound=error.bound)
        case QueueFull():
            return Members(retry_after_s=error.retry_after_s, position=error.position)
        case QueueError():
            return Members(retry_after_s=error.retry_after_s)
    return Members()


def restored(problem: Mapping[str, object]) -> LeaseboxError:
    """The error that a document was made of."""
    hint = problem.get("hint")
    error = rebuild(str(problem["code"]), str(problem.get("detail", "")), str(hint) if hint is not None else None)
    if isinstance(error, QueueError):
        error.retry_after_s = _number(problem.get("retry_after_s"))
    if isinstance(error, QuotaExceeded):
        named = problem.get("quota")
        error.quota = named if isinstance(named, str) else None
        error.bound = _number(problem.get("bound"))
    if isinstance(error, QueueFull):
        position = _number(problem.get("position"))
        error.position = int(position) if position is not None else None
    return error


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def later(retry_after_s: float) -> str:
    """When to try again, as a hint."""
    return f"try again in {max(retry_after_s, 0.1):.3g} s"
