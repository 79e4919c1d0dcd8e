"""What the command line shows of sessions."""

import json
import time

from leasebox._sessions import reason_text, told_end
from leasebox.cli.show import as_json, clock, line, pairs, plain, table
from leasebox.contract.result import SessionInfo, SessionState
from leasebox.contract.sizes import duration_text
from leasebox.session import Session

WATCH_PERIOD_S = 0.5


def show_sessions(found: list[SessionInfo], *, is_json: bool) -> None:
    """Print a list of sessions."""
    if is_json:
        as_json(found)
        return
    columns = ("session", "state", "profile", "node", "pending", "run", "used", "ends")
    rows = [
        (s.name, s.state, s.profile, s.node, s.pending, s.executions, clock(s.used_at), clock(s.expires_at))
        for s in found
    ]
    table(columns, rows)


def show_session(session: SessionInfo, *, is_json: bool) -> None:
    """Print one session, and in a sentence why it ended."""
    if is_json:
        as_json(session)
        return
    pairs(
        [
            ("session", session.name),
            ("state", session.state),
            ("profile", session.profile),
            ("node", session.node),
            ("generation", session.generation),
            ("created", clock(session.created_at)),
            ("used", clock(session.used_at)),
            ("ends", clock(session.expires_at)),
            ("ended", clock(session.closed_at)),
            ("idle timeout", duration_text(session.idle_timeout_s)),
            ("greatest age", duration_text(session.max_age_s)),
            ("pending", session.pending),
            ("programs run", session.executions),
            ("last exit code", session.last_exit_code),
            ("why", why(session)),
        ]
    )


def why(session: SessionInfo) -> str | None:
    """Why a session has ended, is about to, or will start with empty files; None if there is nothing to say."""
    if session.state is SessionState.CLOSED:
        return f"It {told_end(session)}."
    if session.state is SessionState.CLOSING:
        return "It is being closed; it ends when its job has ended."
    if session.lost_reason is not None:
        return f"It {reason_text(session.lost_reason)}. The next job starts with empty files."
    return None


def watch_session(session: Session, *, is_json: bool) -> None:
    """Print a line for each change until the session has ended."""
    before = None
    while True:
        found = session.info()
        if found != before:
            line(json.dumps(plain(found)) if is_json else _changed(found))
        if found.state is SessionState.CLOSED:
            return
        before = found
        time.sleep(WATCH_PERIOD_S)


def _changed(session: SessionInfo) -> str:
    node = f" on {session.node}" if session.node else ""
    told = why(session)
    return (
        f"{clock(time.time())}  {session.state}{node}, {session.pending} pending, {session.executions} run"
        f"{'. ' + told if told else ''}"
    )
