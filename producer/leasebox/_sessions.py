"""What a session is to a client: what may be asked for, its record as a value, each request's steps, ends in words."""

import base64
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from leasebox._quota import quota_exceeded
from leasebox._reads import Argument, Flow, Query, fields_of, text_of
from leasebox.contract import errors
from leasebox.contract.keys import Keys
from leasebox.contract.names import IN_WORDS, SESSION_NAME
from leasebox.contract.result import Result, SessionInfo, SessionState, Variable
from leasebox.contract.scripts import client as scripts
from leasebox.contract.scripts import client_answers
from leasebox.contract.scripts.client import NewJob
from leasebox.contract.sizes import duration_text, quantity_text

_UNKNOWN_HINT = "the record of a session is kept for a day after its end; is the tenant right?"
_VARIABLES = TypeAdapter(list[Variable])


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a `Session` sends with each of its jobs, so that one that has ended begins anew as it was.

    Attributes:
        env: Of each job; a job's own values go before.
        idle_timeout_s, max_age_s: None = the operator's.
        stateful: Python code runs as a cell of the kept interpreter, unless the job says otherwise.
    """

    name: str
    profile: str | None = None
    idle_timeout_s: float | None = None
    max_age_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stateful: bool = True

    def onto(self, record: NewJob) -> NewJob:
        """A job's record with what the session is made with if it has ended."""
        return replace(record, idle_timeout_s=self.idle_timeout_s, max_age_s=self.max_age_s)

    def found(self, session: SessionInfo) -> "SessionPlan":
        """This plan with what the session really has."""
        idle_timeout_s, max_age_s = session.idle_timeout_s, session.max_age_s
        return replace(self, profile=session.profile, idle_timeout_s=idle_timeout_s, max_age_s=max_age_s)

    def spec(self, code: str | None, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a job of this session; what cannot be a cell is a program unless `stateful` was asked.

        Raises:
            InvalidSpec: The job names another session or profile.
        """
        for field_name, own in (("session", self.name), ("profile", self.profile)):
            if fields.get(field_name) not in (None, own):
                raise errors.InvalidSpec(f"{field_name}: a job of this session has {own!r}")
        stateful = fields.get("stateful")
        if stateful is None:
            is_cell = code is not None and fields.get("language", "python") == "python" and not fields.get("args")
            stateful = self.stateful and is_cell
        env = {**self.env, **(fields.get("env") or {})}
        return {**fields, "session": self.name, "profile": self.profile, "env": env, "stateful": stateful}


def plan(
    name: str | None,
    *,
    profile: str | None,
    idle_timeout_s: float | None,
    max_age_s: float | None,
    stateful: bool,
    env: Mapping[str, str] | None,
) -> SessionPlan:
    """Check what the caller asked for; a session without a name gets one.

    Raises:
        InvalidSpec: Names the argument and what it may be.
    """
    checked_name(name)
    for argument, value in (("idle_timeout_s", idle_timeout_s), ("max_age_s", max_age_s)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise errors.InvalidSpec(f"{argument}: {value:g} is not above 0")
    return SessionPlan(name or new_name(), profile, idle_timeout_s, max_age_s, dict(env or {}), stateful)


def variables_of(result: Result) -> list[Variable]:
    """What a cell `%variables` has told; empty if it told nothing that can be read."""
    told = result.results[-1].get("application/json") if result.results else None
    try:
        return _VARIABLES.validate_python(told)
    except ValidationError:
        return []


def checked_name(name: str | None) -> None:
    """Refuse what cannot be a session's name.

    Raises:
        InvalidSpec: Says what a name looks like.
    """
    if name is not None and not re.fullmatch(SESSION_NAME, name):
        raise errors.InvalidSpec(f"session: {name!r} is no name: {IN_WORDS[SESSION_NAME]}")


def new_name() -> str:
    """A name that nobody has: `s-` and 26 characters of base32."""
    return "s-" + base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()


def open_session(keys: Keys, tenant: str, wanted: SessionPlan, *, must_exist: bool) -> Flow[SessionInfo]:
    """Make or find the session.

    Raises:
        InvalidSpec: It lives with another profile, or a time is beyond the operator's bound.
        SessionExpired: It must exist and does not; says why it ended.
        QuotaExceeded: The tenant has as many sessions as it may.
    """
    answer = yield scripts.open_session(
        keys,
        tenant=tenant,
        session=wanted.name,
        profile=wanted.profile,
        idle_timeout_s=wanted.idle_timeout_s,
        max_age_s=wanted.max_age_s,
        must_exist=must_exist,
    )
    match answer:
        case client_answers.SessionRecord():
            return SessionInfo(name=wanted.name, **{k: v for k, v in answer._asdict().items() if k != "created"})
        case client_answers.Expired():
            raise (yield from gone(keys, tenant, wanted.name, answer.reason))
        case _:
            raise refusal(answer, tenant, wanted.name)


def refusal(answer: object, tenant: str, name: str | None) -> errors.LeaseboxError:
    """The error that an answer of `open` means; `submit` gives the same ones."""
    match answer:
        case client_answers.ProfileDiffers():
            return errors.InvalidSpec(f"profile: session {name} lives with profile {answer.profile!r}")
        case client_answers.Beyond():
            return errors.InvalidSpec(
                f"{answer.field}: at most {quantity_text(answer.field, answer.bound)} is allowed here"
            )
        case client_answers.Expired():
            return errors.SessionExpired(f"session {name} is gone ({answer.reason}): it {reason_text(answer.reason)}")
        case client_answers.Quota():
            return quota_exceeded(answer, tenant)
        case _:
            raise TypeError(f"no refusal: {answer!r}")


def info(keys: Keys, tenant: str, name: str) -> Flow[SessionInfo]:
    """How the session stands, also for a day after its end.

    Raises:
        UnknownSession: There is no such session in this tenant (any more).
    """
    found: list[SessionInfo | None] = yield _records(keys, tenant, [name])
    if found[0] is None:
        raise errors.UnknownSession(f"no session {name}", hint=_UNKNOWN_HINT)
    return found[0]


def sessions(keys: Keys, tenant: str) -> Flow[list[SessionInfo]]:
    """The tenant's live sessions, the last used first."""
    lines = yield Query((("SMEMBERS", keys.tenant_sessions(tenant)),), lambda replies: [text_of(m) for m in replies[0]])
    found: list[SessionInfo | None] = yield _records(keys, tenant, [line.partition("/")[2] for line in lines])
    return sorted((session for session in found if session is not None), key=lambda s: (-s.used_at, s.name))


def touch(keys: Keys, tenant: str, name: str) -> Flow[float]:
    """Start the idle time anew; when the session ends if nothing else happens.

    Raises:
        SessionExpired: It has ended; says why.
        UnknownSession: There is no such session.
    """
    answer = yield scripts.touch(keys, tenant=tenant, session=name)
    if isinstance(answer, client_answers.Touched):
        return answer.expires_at
    yield from info(keys, tenant, name)  # one that never was is told apart
    raise (yield from gone(keys, tenant, name, answer.reason))


def close(keys: Keys, tenant: str, name: str) -> Flow[SessionInfo]:
    """End the session: what is queued is cancelled at once, what runs when its processes are gone.

    Raises:
        UnknownSession: There is no such session.
    """
    while (yield scripts.close(keys, tenant=tenant, session=name)).more:
        pass
    return (yield from info(keys, tenant, name))


def gone(keys: Keys, tenant: str, name: str, reason: str) -> Flow[errors.SessionExpired]:
    """The error that says why a session is not there."""
    found: list[SessionInfo | None] = yield _records(keys, tenant, [name])
    if found[0] is None:
        return errors.SessionExpired(f"session {name} does not exist", hint=_UNKNOWN_HINT)
    return errors.SessionExpired(f"session {name} is gone ({reason}): it {told_end(found[0])}")


def _records(keys: Keys, tenant: str, names: list[str]) -> Query[list[SessionInfo | None]]:
    commands: list[tuple[Argument, ...]] = []
    for name in names:
        commands += [("HGETALL", keys.session(tenant, name)), ("LLEN", keys.pending(tenant, name))]

    def _parse(replies: list[Any]) -> list[SessionInfo | None]:
        return [
            session_of(name, fields_of(replies[2 * place]), int(replies[2 * place + 1]))
            for place, name in enumerate(names)
        ]

    return Query(tuple(commands), _parse)


def session_of(name: str, record: Mapping[str, str], pending: int) -> SessionInfo | None:
    """Make the value from the record's fields; None if there is no record."""
    if not record.get("state"):
        return None
    state = SessionState(record["state"])
    number = {key: float(record.get(key) or 0) for key in ("created_at", "used_at", "age_from")}
    idle_timeout_s, max_age_s = float(record["idle_timeout_s"]), float(record["max_age_s"])
    expires_at = min(number["used_at"] + idle_timeout_s, number["age_from"] + max_age_s)
    return SessionInfo(
        name=name,
        state=state,
        profile=record.get("profile", ""),
        node=record.get("node") or None,
        generation=int(record.get("generation") or 0),
        created_at=number["created_at"],
        used_at=number["used_at"],
        expires_at=expires_at if state in (SessionState.NEW, SessionState.IDLE) else None,
        idle_timeout_s=idle_timeout_s,
        max_age_s=max_age_s,
        pending=pending,
        executions=int(record.get("executions") or 0),
        last_exit_code=int(record["last_exit_code"]) if record.get("last_exit_code") else None,
        close_reason=record.get("close_reason") or None,
        closed_at=float(record["closed_at"]) if record.get("closed_at") else None,
        lost_reason=None if state is SessionState.CLOSED else record.get("lost_reason") or None,
    )


_REASONS = {
    "closed": "was closed",
    "idle": "ended for lack of activity",
    "max_age": "ended at its greatest age",
    "evicted": "ended while idle, to make room on its node",
    "lost": "lost its sandbox: its node died or was restarted",
    "oom": "lost its sandbox: memory ran out",
    "drained": "lost its sandbox: its node was drained",
    "failed": "lost its sandbox, which failed",
}


def reason_text(reason: str) -> str:
    """The reason of an end in words that follow "the session"."""
    return _REASONS.get(reason, f"ended ({reason})")


def told_end(session: SessionInfo) -> str:
    """Why a session ended or is about to, with its own times: "ended after 30 minutes without activity"."""
    match session.close_reason:
        case "idle":
            return f"ended after {duration_text(session.idle_timeout_s)} without activity"
        case "max_age":
            return f"ended at its greatest age of {duration_text(session.max_age_s)}"
        case None:
            return "lives"
        case reason:
            return reason_text(reason)
