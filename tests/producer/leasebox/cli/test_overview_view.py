"""Does the screen of `leasebox top` fit its terminal, and say what matters first?"""

import io

import pytest
from rich.console import Console

from leasebox._overview import Overview
from leasebox._reads import NodeStatus, QueueStatus
from leasebox.cli.overview_view import as_document, brief, screen, shares, told
from leasebox.contract.result import JobStatus, Outcome, SessionInfo, SessionState, State

NOW = 1000.0


def job(number: int, state: State = State.RUNNING, **fields: object) -> JobStatus:
    given = {"queue": "q", "attempt": 1, "submitted_at": 0.0, "started_at": NOW - number, **fields}
    return JobStatus(id=f"job-{number}", state=state, **given)  # type: ignore[arg-type]


def session(number: int, state: SessionState = SessionState.IDLE) -> SessionInfo:
    return SessionInfo(
        name=f"box-{number}", state=state, profile="default", created_at=0.0, used_at=NOW - number,
        expires_at=NOW + 90, idle_timeout_s=90.0, max_age_s=900.0,
    )  # fmt: skip


def overview(nodes: int = 1, sessions: int = 1, jobs: int = 1) -> Overview:
    return Overview(
        NOW,
        [QueueStatus(f"leasebox.{name}", 3, 2, 1, 100) for name in ("interactive", "default", "batch")],
        [NodeStatus(f"node-{n}", 7, 1.0, {"slots": "4", "busy": "1", "driver": "docker"}) for n in range(nodes)],
        [job(n) for n in range(jobs)],
        [session(n) for n in range(sessions)],
        sessions,
    )


def printed(seen: Overview, height: int | None = None, fault: str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(screen(seen, height, fault))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rows", "wanted", "given"),
    [
        (9, [3, 3, 3], [3, 3, 3]),
        (9, [1, 9, 9], [1, 4, 4]),
        (10, [1, 9, 9], [1, 5, 4]),
        (2, [9, 9, 9], [1, 1, 0]),
        (0, [9, 9, 9], [0, 0, 0]),
        (9, [0, 0, 2], [0, 0, 2]),
    ],
)
def test_tables_share_the_rows(rows: int, wanted: list[int], given: list[int]) -> None:
    assert shares(rows, wanted) == given


@pytest.mark.parametrize("height", [24, 30, 60])
@pytest.mark.parametrize("many", [0, 1, 5, 50])
def test_the_screen_fits_the_terminal(height: int, many: int) -> None:
    assert len(printed(overview(many, many, many), height)) <= height


def test_what_does_not_fit_is_counted() -> None:
    shown = "\n".join(printed(overview(1, 0, 50), 24))

    listed = sum(f"job-{n} " in shown for n in range(50))
    assert 0 < listed < 50
    assert f"{50 - listed} more jobs" in shown
    assert "job-49" in "\n".join(printed(overview(1, 0, 50), None))


def test_busy_sessions_and_long_runs_come_first() -> None:
    idle, busy = session(1), session(99, SessionState.BUSY)
    seen = Overview(NOW, [], [], [job(5), job(50)], [idle, busy], 2)

    shown = "\n".join(printed(seen))

    assert shown.index("box-99") < shown.index("box-1 ")
    assert shown.index("job-50") < shown.index("job-5 ")


def test_an_old_screen_says_why() -> None:
    assert "cannot reach Redis" in printed(overview(), 24, "cannot reach Redis")[0]


def test_the_newest_jobs_are_a_sentence() -> None:
    ended = [job(n, State.FINISHED, outcome=Outcome.OK, finished_at=NOW - 59 * n) for n in range(3)]
    seen = Overview(NOW, [], [], [job(9, State.QUEUED), job(8), *ended], None)

    assert told(seen) == "Newest 5 jobs: 1 queued, 1 running, 3 ok; 2 ended in the last minute."
    assert as_document(seen)["outcomes"] == {"ok": 3}
    assert as_document(seen)["sessions"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (86399, "23h59m"), (90000, "1d01h")],
)
def test_times_are_brief(seconds: float, text: str) -> None:
    assert brief(seconds) == text
