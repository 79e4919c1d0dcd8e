"""How a running job is watched from a shell: its output as it comes, its end as the exit status."""

import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Self

import typer

from leasebox._event_json import event_json
from leasebox._json_line import json_line
from leasebox._sessions import reason_text
from leasebox.cli.ending import exit_status, last_line
from leasebox.cli.live_input import pass_on
from leasebox.cli.saved import as_text, save, save_artifacts
from leasebox.cli.show import as_json, json_text, line, say
from leasebox.client import JobHandle
from leasebox.contract.errors import LeaseboxError, StreamExpired
from leasebox.contract.events import Display, Event, Finished, Input, Retried, SessionRestarted, Stderr, Stdout
from leasebox.contract.result import Result
from leasebox.contract.wire import MESSAGES

CANCEL_WAIT_S = 10.0


class Form(Enum):
    """What goes to stdout."""

    LIVE = "live"
    JSON = "json"
    EVENTS = "events"


class _Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP while the block lasts; one that was ignored (`nohup`) stays so.

    Attributes:
        number: The last that came, 0 = none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._is_noted_alone = True

    def __enter__(self) -> Self:
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        self._before = {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _came(self, number: int, _: object) -> None:
        is_first, self.number = not self.number, number
        if not (self._is_noted_alone and is_first):
            raise KeyboardInterrupt

    def let_through(self) -> None:
        """From now on raise KeyboardInterrupt; before, the first is noted alone: a job that Redis has accepted must be
        known to be cancelled. A second one is of somebody who does not wait for a Redis that does not answer.
        """
        self._is_noted_alone = False
        if self.number:
            raise KeyboardInterrupt


def follow(
    submit: Callable[[], JobHandle], form: Form, *, is_live: bool = False, is_quiet: bool, out: Path | None = None
) -> None:
    """Submit a job, watch it and exit as it did; Ctrl-C, SIGTERM and SIGHUP cancel it first, also amid the submission.

    Args:
        is_live: Our own standard input is the job's.
        out: Folder for what it leaves.

    Raises:
        Exit: Always.
    """
    with _Interrupts() as interrupts:
        try:
            handle = submit()
        except KeyboardInterrupt:
            say("leasebox: given up while the job was handed in; it may run, and `leasebox jobs` tells")
            raise typer.Exit(128 + interrupts.number) from None
        try:
            interrupts.let_through()
            if is_live:
                pass_on(handle)
            result = _watched(handle, form)
        except KeyboardInterrupt:
            _cancel(handle)
            raise typer.Exit(128 + interrupts.number) from None
        except OSError:
            # Nobody reads any more (`leasebox run ... | head`), or the disk is full: end what writes.
            with suppress(LeaseboxError):
                handle.cancel()
            raise
    save_all(handle, result, out)
    finish(result, form, is_quiet=is_quiet)


def save_all(handle: JobHandle, result: Result, out: Path | None) -> None:
    """Save what a cell showed, and the files that the job left, below `out`; None = nowhere."""
    if out is not None:
        for path in (*save(result, out), *save_artifacts(result, out, handle.artifact)):
            say(f"leasebox: saved {path}")


def finish(result: Result, form: Form, *, is_quiet: bool) -> None:
    """Tell the end of a job and exit as it did.

    Raises:
        Exit: Always.
    """
    if form is Form.JSON:
        as_json(result)
    elif form is Form.LIVE and result.error and result.error.traceback:
        write(sys.stderr.buffer, result.error.traceback.encode(errors="replace"))
    elif form is Form.LIVE and result.build and result.build.exit_code != 0:
        write(sys.stderr.buffer, (result.build.stdout + result.build.stderr).encode(errors="replace"))
    if not is_quiet:
        say(f"leasebox: {last_line(result)}")
    raise typer.Exit(exit_status(result))


def show_accepted(handle: JobHandle, *, is_json: bool) -> None:
    """Print the id of a job that nobody waits for."""
    if is_json:
        as_json({"id": handle.id, "existing": handle.existing})
    else:
        line(handle.id)


def show_events(events: Iterable[Event], form: Form) -> Result | None:
    """Print events as they come; the Result, if `finished` was among them."""
    for event in events:
        if form is Form.EVENTS:
            json_text(json_line(event_json(event)))
        elif form is Form.LIVE:
            show(event)
        if isinstance(event, Finished):
            return event.result
    return None


def show(event: Event) -> None:
    """Print one event for people: output as the bytes it is, what surprises as a line on stderr."""
    match event:
        case Stdout(data=data):
            write(sys.stdout.buffer, data)
        case Stderr(data=data):
            write(sys.stderr.buffer, data)
        case Display(bundle=bundle):
            write(sys.stdout.buffer, (as_text(bundle) + "\n").encode(errors="replace"))
        case Input(prompt=prompt):
            write(sys.stdout.buffer, prompt.encode(errors="replace"))
        case SessionRestarted(reason=reason) if reason.startswith("interpreter_"):
            say(f"leasebox: the interpreter starts anew, its variables are gone: {reason.removeprefix('interpreter_')}")
        case SessionRestarted(reason=reason):
            say(f"leasebox: the session starts anew, its files are gone: it {reason_text(reason)}")
        case Retried(attempt=attempt, reason=reason):
            say(f"leasebox: attempt {attempt - 1} was given up, trying again. {MESSAGES.get(reason, reason)}")
        case _:
            pass


def write(stream: BinaryIO, data: bytes) -> None:
    """Write raw bytes at once."""
    stream.write(data)
    stream.flush()


def _watched(handle: JobHandle, form: Form) -> Result:
    if form is Form.JSON:
        return handle.result()
    try:
        result = show_events(handle.events(), form)
    except StreamExpired:
        result = None
    return result if result is not None else handle.result()


def _cancel(handle: JobHandle) -> None:
    say("leasebox: cancelling")
    try:
        handle.cancel(wait_s=CANCEL_WAIT_S)
    except KeyboardInterrupt:
        say(f"leasebox: job {handle.id} may still run; `leasebox cancel {handle.id}` ends it")
    except LeaseboxError as exc:
        say(f"leasebox: {exc}")
    else:
        say("leasebox: cancelled")
