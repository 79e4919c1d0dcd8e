"""How does a client learn what a session uses? It asks the session's node through Redis, and waits for the answer."""

from leasebox import _sessions
from leasebox._reads import Flow, fields_of, stream_entries, text_of
from leasebox._stream import Entry
from leasebox.contract.keys import Keys
from leasebox.contract.metrics import Health, SandboxMetrics, SessionMetrics
from leasebox.contract.result import SessionInfo
from leasebox.contract.scripts import metrics as scripts

ANSWER_WITHIN_S = 2.0
"""A node answers in a moment, or has other troubles; below the time that the API gives one request to Redis."""


def metrics(keys: Keys, tenant: str, name: str) -> Flow[SessionMetrics]:
    """What the session's sandbox uses now. It is no activity of the session, and its job is not disturbed.

    Raises:
        UnknownSession: There is no such session in this tenant (any more).
    """
    answer = yield scripts.measure(keys, tenant=tenant, session=name)
    told: scripts.Fresh | None = None
    match answer:
        case scripts.Asked(after):
            stream = keys.metrics(keys.line("", tenant, name))
            told = _told((yield stream_entries(stream, after, int(1000 * ANSWER_WITHIN_S), 1)))
        case scripts.Fresh():
            told = answer
    # Read last: what the record counts is never older than what was measured.
    session = yield from _sessions.info(keys, tenant, name)
    return metrics_of(session, told, is_asked=not isinstance(answer, scripts.NoSandbox))


def metrics_of(session: SessionInfo, told: scripts.Fresh | None, *, is_asked: bool) -> SessionMetrics:
    """Put the record and the measurement together; without one the health says why there is none."""
    if told is not None:
        sandbox = SandboxMetrics.model_validate_json(told.json)
    else:
        sandbox = SandboxMetrics(health=Health.UNKNOWN if is_asked else Health.NONE)
    return SessionMetrics(
        **sandbox.model_dump(),
        session=session.name,
        state=session.state,
        node=session.node,
        measured_at=told.at if told is not None else None,
        executions=session.executions,
        last_exit_code=session.last_exit_code,
    )


def _told(entries: list[Entry]) -> scripts.Fresh | None:
    for entry_id, flat in entries:
        milliseconds, _, _ = text_of(entry_id).partition("-")
        return scripts.Fresh(int(milliseconds) / 1000, fields_of(flat)["json"])
    return None
