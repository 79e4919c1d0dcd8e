"""How do the files of `leasebox batch run` look, and what is left of a run that was killed?

The output has a line for each job that ended. A run first notes an id beside it (`OUT.run`), from which the idempotency
key of each line is made; the next run with the same output finds it there, and so the jobs that the killed one queued.
"""

import fcntl
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Self

from leasebox import _batches
from leasebox._batches import Item
from leasebox._ids import new_job_id
from leasebox.config import ClientSettings
from leasebox.contract.errors import ConfigError, InvalidSpec
from leasebox.contract.result import Result

_BEGINS = b'{"index": '


def given_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines that are not blank; the place among them is a line's index."""
    return (line for line in stream if line.strip())


def item_of_line(index: int, line: bytes, run: str, settings: ClientSettings) -> Item:
    """The item of an input line; one that cannot be a job carries the error.

    Args:
        run: Makes the idempotency key of a line that has none: the same text in the same run is the same job.
    """
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as exc:
        return Item(index, InvalidSpec(f"not JSON: {exc}"))
    if isinstance(given, dict) and given.get("idempotency_key") is None:
        digest = hashlib.sha256(line.strip()).hexdigest()[:16]
        given["idempotency_key"] = f"{run}:{index}:{digest}"
    return _batches.item_of(index, given, settings)


class Output:
    """The file of results; one run at a time writes to it.

    Attributes:
        run: Id of this run and of those before it that did not complete.
        done: Indexes that have a result, and the key of each.
        by_outcome: How many of them ended with each outcome.
        new: How many of them this run has added.

    Raises:
        ConfigError: Another run writes to it, or it is a file of something else.
    """

    def __init__(self, path: Path) -> None:
        self.done: dict[int, str | None] = {}
        self.by_outcome: Counter[str] = Counter()
        self.new = 0
        self._path = path
        self._note = path.with_name(f"{path.name}.run")
        is_new = not path.exists()
        if not is_new and not path.is_file():
            raise ConfigError(f"--out {path}: not a file", hint="a later run reads it: give a file")
        self._file = path.open("ab+")
        try:
            self._lock()
            self._read()
            self.run = self._begun(is_new=is_new)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, item: Item, result: Result) -> None:
        """Add the result of an item: all of the line or, killed, a part."""
        if item.index in self.done:
            return
        line = _batches.result_line(item.index, item.key, result.job, result)
        self._file.write(line.encode(errors="surrogateescape"))
        self._file.flush()
        self._count(item.index, item.key, result.outcome)
        self.new += 1

    def lines_left(self, lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
        """The lines that have no result, each with its index.

        Those up to the last one with a result are read at once, so that another file is refused before anything is
        done with it, be it a pipe.

        Raises:
            ConfigError: They are of another file: a result has another key than its line, or there are too few lines.
        """
        expected = max(self.done, default=-1) + 1
        left: list[tuple[int, bytes]] = []
        count = 0
        for index, line in enumerate(islice(lines, expected)):
            count = index + 1
            if index in self.done:
                self._check_key(index, line)
            else:
                left.append((index, line))
        if count < expected:
            raise self._of_another(f"it has a result of index {expected - 1}, and there are {count} lines")
        return chain(left, enumerate(lines, count))

    def _check_key(self, index: int, line: bytes) -> None:
        key = self.done[index]
        try:
            other = json.loads(line).get("key")
        except (ValueError, AttributeError, RecursionError):
            raise self._of_another(f"it has a result of index {index}, and that line is no job") from None
        if other != key:
            raise self._of_another(f"the result of index {index} has the key {key!r}, and the line {other!r}")

    def complete(self) -> None:
        """Every line has its result: a later run is another one."""
        self._note.unlink(missing_ok=True)

    def _of_another(self, why: str) -> ConfigError:
        return ConfigError(f"{self._path} belongs to another file of jobs: {why}", hint="give another --out")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another run writes to {self._path}", hint="wait for it, or give another --out"
            ) from None

    def _read(self) -> None:
        self._file.seek(0)
        place = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n") and line[: len(_BEGINS)] == _BEGINS[: len(line)]:
                self._file.truncate(place)  # torn: the run was killed while it wrote
                return
            try:
                data = json.loads(line)
                self._count(int(data["index"]), data["key"], str(data["result"]["outcome"]))
            except (ValueError, TypeError, KeyError, RecursionError):
                raise ConfigError(
                    f"{self._path}, line {number}: not a result of `leasebox batch run`", hint="give another --out"
                ) from None
            place += len(line)

    def _count(self, index: int, key: str | None, outcome: str) -> None:
        if index not in self.done:
            self.done[index] = key
            self.by_outcome[outcome] += 1

    def _begun(self, *, is_new: bool) -> str:
        if not is_new:
            try:
                return str(json.loads(self._note.read_text())["run"])
            except (OSError, ValueError, TypeError, KeyError):
                pass  # the run before completed, or was killed before it queued anything
        run = new_job_id()
        partial = self._note.with_name(f"{self._note.name}.part")
        partial.write_text(json.dumps({"run": run}) + "\n")
        partial.replace(self._note)
        return run
