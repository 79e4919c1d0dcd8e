"""What the command line shows of sessions."""

import json
import time

from leasebox._sessions import reason_text, told_end
from leasebox.cli.show import as_json, clock, line, pairs, plain, table
from leasebox.contract.metrics import Health, SessionMetrics
from leasebox.contract.result import SessionInfo, SessionState
from leasebox.contract.sizes import duration_text
from leasebox.session import Session

WATCH_PERIOD_S = 1.0
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


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
    else:
        pairs(_rows(session))


def show_measured(session: Session, *, is_json: bool) -> None:
    """Print one session with what its sandbox uses now."""
    measured, found = session.metrics(), session.info()
    if is_json:
        as_json(_with_metrics(found, measured))
    else:
        pairs([*_rows(found), *_measures(measured)])


def _with_metrics(session: SessionInfo, measured: SessionMetrics) -> dict[str, object]:
    return {**plain(session), "metrics": plain(measured)}


def _measures(measured: SessionMetrics) -> list[tuple[str, object]]:
    if measured.measured_at is None:
        return [("health", _HEALTH[measured.health])]
    return [
        ("sandbox", measured.sandbox),
        ("health", _health(measured)),
        ("processor", f"{measured.cpu_percent:g} %, {measured.cpu_s:.2f} s in all"),
        ("memory", f"{size_text(measured.memory_bytes)}, at most {size_text(measured.memory_peak_bytes)}"),
        ("disk", size_text(measured.disk_bytes)),
        ("network", f"{size_text(measured.network_in_bytes)} in, {size_text(measured.network_out_bytes)} out"),
        ("processes", measured.processes),
    ]


_HEALTH = {
    Health.HEALTHY: "healthy",
    Health.FAILING: "failing",
    Health.UNKNOWN: "unknown: its node does not answer",
    Health.NONE: None,
}


def _health(measured: SessionMetrics) -> str | None:
    missed = measured.health_failures
    return f"{_HEALTH[measured.health]}, {missed} missed" if missed else _HEALTH[measured.health]


def size_text(size_bytes: int) -> str:
    """A size as people say it: "512 B", "34.1 MiB"."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.3g} {_UNITS[unit]}" if size < 1000 else f"{size:.0f} {_UNITS[unit]}"


def _rows(session: SessionInfo) -> list[tuple[str, object]]:
    return [
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
    """Print a line for each change that can be seen in it, until the session has ended."""
    before = None
    while True:
        measured, found = session.metrics(), session.info()
        seen = _seen(found, measured)
        if seen != before:
            line(json.dumps(_with_metrics(found, measured)) if is_json else f"{clock(time.time())}  {seen}")
        if found.state is SessionState.CLOSED:
            return
        before = seen
        time.sleep(WATCH_PERIOD_S)


def _seen(session: SessionInfo, measured: SessionMetrics) -> str:
    node = f" on {session.node}" if session.node else ""
    told = why(session)
    return (
        f"{session.state}{node}, {session.pending} pending, {session.executions} run{_used(measured)}"
        f"{'. ' + told if told else ''}"
    )


def _used(measured: SessionMetrics) -> str:
    if measured.measured_at is None:
        return "" if measured.health is Health.NONE else f"; health {_HEALTH[measured.health]}"
    traffic = measured.network_in_bytes + measured.network_out_bytes
    return (
        f"; cpu {measured.cpu_percent:.0f} % {measured.cpu_s:.1f} s, memory {size_text(measured.memory_bytes)}, "
        f"disk {size_text(measured.disk_bytes)}, network {size_text(traffic)}, {_health(measured)}"
    )
