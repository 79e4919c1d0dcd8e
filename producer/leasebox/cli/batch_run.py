"""`leasebox batch run`: a file of jobs in, a file of results out, and after a kill only the rest."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import typer

from leasebox._batches import Item, refusal_of
from leasebox._feeder import Feeder, result_of
from leasebox._flows import Submitted
from leasebox.batch import Batch, Run
from leasebox.cli.batch_file import Output, given_lines, item_of_line
from leasebox.cli.ending import CANCELLED
from leasebox.cli.show import as_json, say
from leasebox.client import Client
from leasebox.config import color_wanted
from leasebox.contract.batches import ItemError
from leasebox.contract.errors import LeaseboxError, UnknownBatch
from leasebox.contract.result import Result

_TOLD_ERRORS = 20


def run_file(client: Client, source: str, out: Path, *, is_json: bool, is_quiet: bool) -> None:
    """Run each line of a file that has no result in `out` yet.

    Args:
        source: Path of the file, or `-`.

    Raises:
        Exit: 0 every line has a result; 1 some lines were refused; 130 Ctrl-C.
    """
    with Output(out) as output, _opened(source) as lines:
        total = sum(1 for _ in given_lines(lines)) if lines.seekable() else None
        if total is not None:
            lines.seek(0)
        with _bar(is_shown=not (is_json or is_quiet), done=len(output.done), total=total) as bar:
            filling = _Filling(client, output, bar)
            try:
                filling.fill(given_lines(lines))
            except KeyboardInterrupt:
                filling.leave()
        _finish(filling, is_json=is_json, is_quiet=is_quiet)


@dataclass
class _Filling:
    """One run: what it queues, and what it waits for."""

    client: Client
    output: Output
    bar: "_Bar"
    errors: list[ItemError] = field(default_factory=list)
    batch: Batch | None = None
    is_interrupted: bool = False

    def fill(self, lines: Iterator[bytes]) -> None:
        """Queue what has no result, and write the results as they come."""
        left = self.output.lines_left(lines)
        feeder = Feeder(item_of_line(index, line, self.output.run, self.client.settings) for index, line in left)
        self.batch = self.client.batch(name=self.output.run)
        run = Run(self.client, feeder, self.batch.id)
        while not feeder.is_fed:
            self._turn(run, feeder)
        # What earlier runs have queued stands before what this one queued.
        self._take_earlier(feeder.elsewhere)
        while not feeder.is_over:
            self._turn(run, feeder)
        run.release()
        self.batch.seal()

    def leave(self) -> None:
        """Ctrl-C: what is queued goes on, and the next run finds it."""
        self.is_interrupted = True
        if self.batch is not None:
            with suppress(LeaseboxError):
                self.batch.seal()

    def _turn(self, run: Run, feeder: Feeder) -> None:
        ended = run.turn()
        self.errors += [refusal_of(item.index, error) for item, error in feeder.take_refused()]
        for event in ended:
            self.output.write(feeder.in_flight[event.job], result_of(event))
            feeder.ended(event.job, time.monotonic())
        self.bar.show(self.output, str(feeder.waits_for) if feeder.waits_for is not None else "")

    def _take_earlier(self, found: list[tuple[Item, Submitted]]) -> None:
        """Write the results of jobs that were queued before: those of a batch from its stream, others one by one."""
        by_batch: dict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
        for item, told in found:
            by_batch[told.batch or ""][told.job].append(item)
        for batch, wanted in by_batch.items():
            # In the batch of this run stands a job that two lines name; one of no batch was queued by itself.
            if batch and self.batch is not None and batch != self.batch.id:
                self._take_batch(batch, wanted)
            for job, items in wanted.items():
                self._write_all(items, self.client.job(job).result())

    def _take_batch(self, batch: str, wanted: dict[str, list[Item]]) -> None:
        with suppress(UnknownBatch):
            for event in self.client.batch(batch_id=batch).ends():
                self._write_all(wanted.pop(event.job, []), result_of(event))
                if not wanted:
                    return

    def _write_all(self, items: list[Item], result: Result) -> None:
        for item in items:
            self.output.write(item, result)
        self.bar.show(self.output, "")


def _finish(filling: _Filling, *, is_json: bool, is_quiet: bool) -> None:
    output = filling.output
    done = len(output.done)
    is_complete = not filling.errors and not filling.is_interrupted
    if is_complete:
        output.complete()
    for error in filling.errors[:_TOLD_ERRORS]:
        say(f"leasebox: index {error.index}: {error.code}: {error.detail}")
    if len(filling.errors) > _TOLD_ERRORS:
        say(f"leasebox: and {len(filling.errors) - _TOLD_ERRORS} further ones")
    if is_json:
        as_json(
            {
                "batch": filling.batch.id if filling.batch is not None else None,
                "done": done,
                "new": output.new,
                "by_outcome": dict(output.by_outcome),
                "errors": filling.errors,
            }
        )
    if not is_quiet:
        say(f"leasebox: {_told(filling, done)}")
    raise typer.Exit(CANCELLED if filling.is_interrupted else 0 if is_complete else 1)


def _told(filling: _Filling, done: int) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in filling.output.by_outcome.most_common())
    told = f"{done} results" + (f" ({outcomes})" if outcomes else "")
    if done and not (filling.output.new or filling.errors or filling.is_interrupted):
        told += "; all were there before, nothing was run: give another --out to run them again"
    if filling.errors:
        told += f", {len(filling.errors)} lines refused; mend them and run again"
    if filling.is_interrupted and filling.batch is not None:
        told += f"; what is queued goes on: run again for the rest, or `leasebox batch cancel {filling.batch.id}`"
    return told


def _opened(source: str) -> AbstractContextManager[BinaryIO]:
    if source == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except OSError as exc:
        raise typer.BadParameter(f"cannot read {source}: {exc.strerror}") from exc


class _Bar:
    """A progress bar on a terminal, else nothing."""

    def __init__(self, progress: Any | None, task: Any) -> None:
        self._progress = progress
        self._task = task

    def __enter__(self) -> "_Bar":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, output: Output, waits_for: str) -> None:
        """How far it is, and what it waits for."""
        if self._progress is not None:
            failed = sum(output.by_outcome.values()) - output.by_outcome["ok"]
            told = waits_for or (f"{failed} not ok" if failed else "")
            self._progress.update(self._task, completed=len(output.done), told=told)


def _bar(*, is_shown: bool, done: int, total: int | None) -> _Bar:
    if not is_shown or not sys.stderr.isatty():
        return _Bar(None, None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[told]}", markup=False))
    console = Console(stderr=True, no_color=not color_wanted(), highlight=False)
    progress = Progress(*columns, console=console)
    return _Bar(progress, progress.add_task("", total=total, completed=done, told=""))
