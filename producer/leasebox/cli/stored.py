"""What the command line shows of jobs that are already in Redis."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from leasebox._connect import is_http
from leasebox.cli.follow import Form, finish, save_all, show_events, write
from leasebox.cli.saved import as_text
from leasebox.cli.show import as_json, clock, line, pairs, table
from leasebox.client import JobHandle
from leasebox.contract.errors import StreamExpired, StreamTimeout
from leasebox.contract.events import Event
from leasebox.contract.result import JobStatus, Result, State
from leasebox.contract.standing import Why


def show_logs(handle: JobHandle, after: str | None, *, is_following: bool, is_events: bool, is_quiet: bool) -> None:
    """Print what a job told; when following, exit as it did."""
    form = Form.EVENTS if is_events else Form.LIVE
    try:
        result = show_events(handle.events(after) if is_following else _so_far(handle, after), form)
    except StreamExpired:
        if is_events or after is not None:
            raise
        # The events are gone but their bytes are kept in the Result, as far as `output_bytes` reaches.
        result = handle.result()
        _output(result)
    if is_following:
        finish(result if result is not None else handle.result(), form, is_quiet=is_quiet)


def _so_far(handle: JobHandle, after: str | None) -> Iterator[Event]:
    """The events up to now: the reader's time is up as soon as it has to wait."""
    has_ended = handle.status().state is State.FINISHED
    began = time.time()
    # An API needs time to begin its answer, and tells events one by one.
    wait_s = 1.0 if is_http(handle._client.settings.url) else 0.05
    try:
        for event in handle.events(after, timeout_s=None if has_ended else wait_s):
            yield event
            if event.at > began:
                return
    except StreamTimeout:
        return


def show_status(status: JobStatus, *, is_json: bool) -> None:
    """Print how a job stands."""
    if is_json:
        as_json(status)
        return
    times = {"submitted_at", "started_at", "finished_at"}
    shown = status.model_dump(mode="json")
    pairs([(name, clock(value) if name in times else value) for name, value in shown.items() if value is not False])


def show_standing(handle: JobHandle, *, is_json: bool) -> None:
    """Print how a job stands, and in sentences why; JSON is the status alone."""
    show_status(handle.status(), is_json=is_json)
    if not is_json:
        pairs([("why", " ".join(handle.why().why))])


def show_why(why: Why, *, is_json: bool) -> None:
    """Print what a job waits for, and what to do about it."""
    if is_json:
        as_json(why)
        return
    for sentence in why.why:
        line(sentence)
    if why.next_step:
        line(f"-> {why.next_step}")


def show_result(
    handle: JobHandle, wait_s: float | None, *, is_json: bool, is_quiet: bool, out: Path | None = None
) -> None:
    """Print the kept output, save what the job left to `out`, and exit as it did.

    Raises:
        Exit: Always.
    """
    result = handle.result(wait_s)
    if not is_json:
        _output(result)
    save_all(handle, result, out)
    finish(result, Form.JSON if is_json else Form.LIVE, is_quiet=is_quiet)


def _output(result: Result) -> None:
    write(sys.stdout.buffer, result.stdout_bytes)
    for bundle in result.results:
        line(as_text(bundle))
    write(sys.stderr.buffer, result.stderr_bytes)


def show_jobs(found: list[JobStatus], *, is_json: bool) -> None:
    """Print a list of jobs."""
    if is_json:
        as_json(found)
        return
    columns = ("id", "state", "outcome", "session", "profile", "submitted")
    table(columns, [(j.id, j.state, j.outcome, j.session, j.profile, clock(j.submitted_at)) for j in found])
