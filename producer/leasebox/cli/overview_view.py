"""What does `leasebox top` show of an overview, as a screen and as JSON?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leasebox._overview import MAX_JOBS, Overview, ended_lately, node_fields, outcomes, running
from leasebox.cli.show import clock, plain
from leasebox.contract.result import SessionState, State

if TYPE_CHECKING:
    from rich.console import RenderableType

Row = tuple[object, ...]
_FIXED_ROWS = 12
"""Headings, the empty lines between, and up to three about the newest jobs."""
_BUSY_FIRST = {SessionState.BUSY: 0, SessionState.STARTING: 1, SessionState.CLOSING: 2}


def as_document(seen: Overview) -> dict[str, object]:
    """For programs."""
    return {
        "at": seen.at,
        "queues": plain(list(seen.queues)),
        "nodes": [node_fields(node) for node in seen.nodes],
        "sessions": None if seen.sessions is None else plain(list(seen.sessions)),
        "live_sessions": seen.live,
        "running": plain(running(seen)),
        "outcomes": dict(outcomes(seen).most_common()),
        "ended_last_minute": ended_lately(seen),
        "jobs_looked_at": len(seen.jobs),
    }


def screen(seen: Overview, height: int | None, fault: str = "") -> "RenderableType":
    """All of it, cut to a terminal's height; None: nothing is cut.

    Args:
        fault: Why what is shown is old.
    """
    from rich.console import Group
    from rich.text import Text

    title = Text(f"leasebox top  {clock(seen.at)}" + (f"  {fault}" if fault else ""), style="red" if fault else "bold")
    spaced = [part for table in _tables(seen, height) for part in ("", table)]
    return Group(title, *spaced, "", Text(told(seen)))


def _tables(seen: Overview, height: int | None) -> list["RenderableType"]:
    found = [("node", _NODES, _nodes(seen)), ("session", _SESSIONS, _sessions(seen)), ("job", _JOBS, _jobs(seen))]
    sizes = [len(rows) for _, _, rows in found]
    if height is not None:
        sizes = shares(max(0, height - _FIXED_ROWS - len(found) - len(seen.queues)), sizes)
    cut = [(name, columns, rows, size) for (name, columns, rows), size in zip(found, sizes, strict=True) if rows]
    return [_table(_QUEUES, _queues(seen)), *(_cut_table(*part) for part in cut)]


def shares(rows: int, wanted: Sequence[int]) -> list[int]:
    """How many of `rows` each of the tables gets: what it wants if that is no more than a fair share, else that."""
    given = [0] * len(wanted)
    while rows > 0 and (short := [n for n, want in enumerate(wanted) if given[n] < want]):
        for n in short[:rows]:
            given[n] += 1
            rows -= 1
    return given


def _cut_table(name: str, columns: Sequence[str], rows: Sequence[Row], size: int) -> "RenderableType":
    left = len(rows) - size
    if not left:
        return _table(columns, rows)
    more = (f"{left + 1} more {name}s", *[""] * (len(columns) - 1))
    return _table(columns, [*rows[: max(0, size - 1)], more])


def _table(columns: Sequence[str], rows: Sequence[Row]) -> "RenderableType":
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for column in columns:
        shown.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown


_QUEUES = ("queue", "queued", "runnable lines", "wake-ups", "bound")
_NODES = ("node", "state", "driver", "busy", "takes no work because", "last seen")
_SESSIONS = ("session", "state", "node", "pending", "run", "used", "ends in")
_JOBS = ("job", "state", "session", "node", "language", "for")


def _queues(seen: Overview) -> list[Row]:
    return [(q.name, q.queued, q.waiting_lines, q.messages, q.max_jobs) for q in seen.queues]


def _nodes(seen: Overview) -> list[Row]:
    return [
        (
            node.name, node.state, node.fields.get("driver"),
            f"{node.fields.get('busy', 0)} of {node.fields.get('slots', 0)}", node.fields.get("paused"),
            f"{brief(node.silent_s)} ago",
        )
        for node in seen.nodes
    ]  # fmt: skip


def _sessions(seen: Overview) -> list[Row]:
    found = sorted(seen.sessions or (), key=lambda s: (_BUSY_FIRST.get(s.state, 3), -s.used_at, s.name))
    return [
        (
            s.name, s.state, s.node, s.pending, s.executions, f"{brief(seen.at - s.used_at)} ago",
            None if s.expires_at is None else brief(s.expires_at - seen.at),
        )
        for s in found
    ]  # fmt: skip


def _jobs(seen: Overview) -> list[Row]:
    return [
        (j.id, j.state, j.session, j.node, j.language, None if j.started_at is None else brief(seen.at - j.started_at))
        for j in running(seen)
    ]


def told(seen: Overview) -> str:
    """The newest jobs in a sentence, and how many sessions there are."""
    waiting = sum(job.state is State.QUEUED for job in seen.jobs)
    counted = [f"{count} {name}" for name, count in outcomes(seen).most_common()]
    newest = ", ".join([f"{waiting} queued", f"{len(running(seen))} running", *counted])
    lately = f"{'at least ' if len(seen.jobs) >= MAX_JOBS else ''}{ended_lately(seen)} ended in the last minute"
    live = "" if seen.live is None else f"; live sessions: {seen.live}"
    return f"Newest {len(seen.jobs)} jobs: {newest}; {lately}{live}."


def brief(seconds: float) -> str:
    """A time in two places: "5s", "3m12s", "2h04m", "1d03h"; none is negative."""
    whole = max(0, int(seconds))
    for unit, size, lower, lower_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // lower_size:02}{lower}"
    return f"{whole}s"
