"""What does the agent know about the job that runs: its pipes, its deadlines, what it has used?"""

from __future__ import annotations

import json
import os
from collections import deque
from enum import StrEnum

from leasebox_guest.cell import Cell
from leasebox_guest.child import Child
from leasebox_guest.frames import STDIN_WINDOW, Kind
from leasebox_guest.spec import JobKind, Spec
from leasebox_guest.sweep import Usage

_STATUS_BYTES = 4096
_CPU_CHECK_MIN_S = 0.02
NEVER = float("inf")


class Limit(StrEnum):
    """The limit that ended a job."""

    WALL = "wall"
    CPU = "cpu"
    SILENCE = "silence"
    OUTPUT = "output"


class ProtocolError(Exception):
    """The host has broken the rules of frames.py."""


class Run:
    """One job from its EXEC to its EXITED. Times are of the monotonic clock.

    Args:
        payload: The EXEC that `spec` was read from.
    """

    def __init__(self, spec: Spec, payload: bytes, now: float) -> None:
        self.spec = spec
        self.code = bytearray()
        self.payload = payload
        self.cell = Cell() if spec.kind is JobKind.CELL else None
        self.child = Child()
        self.counts = {Kind.STDOUT: 0, Kind.STDERR: 0}
        self.usage = Usage()
        self.wait_status: int | None = None
        self.limit: Limit | None = None
        self.cancelled = False
        self.error: str | None = None
        self.started_at = now
        self.held_s = 0.0
        self.kill_at = NEVER
        self.begin_by = NEVER
        self.had_interpreter = False
        self.is_interrupted = False
        self.cpu_before_s = 0.0
        self.cpu_check_at = NEVER
        self.last_output_at = now
        self._input: deque[bytes] = deque()
        self._has_input_ended = False
        self._unacknowledged = 0

    @property
    def is_complete(self) -> bool:
        """Whether all of the code is there, so that the job can start."""
        return len(self.code) == self.spec.code_bytes

    def take_code(self, data: bytes) -> None:
        """Add a portion of the code.

        Raises:
            ProtocolError: More than EXEC announced.
        """
        self.code += data
        if len(self.code) > self.spec.code_bytes:
            raise ProtocolError("more CODE than announced")

    def started(self, child: Child, now: float) -> None:
        """The clocks run from here."""
        self.child = child
        self.started_at = self.last_output_at = now
        if self.spec.cpu_s is not None:
            self.cpu_check_at = now + _CPU_CHECK_MIN_S

    def take_input(self, data: bytes) -> None:
        """Queue input of the job; empty is its end.

        Raises:
            ProtocolError: The host has sent more than its window allows.
        """
        if not data:
            self._has_input_ended = True
            return
        self._unacknowledged += len(data)
        if self._unacknowledged > STDIN_WINDOW:
            raise ProtocolError("STDIN beyond its window")
        self._input.append(data)

    @property
    def wants_to_write(self) -> bool:
        """Whether input waits for room in the job's pipe."""
        return bool(self._input)

    def feed(self) -> int:
        """Write input to the job as far as it takes it, close at its end; return the bytes to give credit for.

        Input that nobody reads any more is dropped, and credit given all the same.
        """
        done = 0
        while self._input:
            data = self._input.popleft()
            try:
                written = os.write(self.child.stdin, data) if self.child.stdin >= 0 else len(data)
            except BlockingIOError:
                self._input.appendleft(data)
                break
            except BrokenPipeError:
                self.child.close_stdin()
                written = len(data)
            if written < len(data):
                self._input.appendleft(data[written:])
            done += written
        if not self._input and self._has_input_ended:
            self.child.close_stdin()
        self._unacknowledged -= done
        return done

    @property
    def pid(self) -> int:
        """Of the job; 0 until it has started."""
        return self.child.pid

    def count(self, kind: Kind, data: bytes) -> bytes:
        """Account for output; return what is still within the limit, and set `limit` when not all of it is."""
        room = self.spec.stream_bytes - sum(self.counts.values())
        if len(data) > room:
            self.limit = self.limit or Limit.OUTPUT
            data = data[:room]
        self.counts[kind] += len(data)
        return data

    def next_deadline(self, *, is_held: bool, is_paused: bool) -> float:
        """When to look at the deadlines again. While the job is held only the kill after a cancel counts."""
        if is_held or not self.pid or self.limit:
            return self.kill_at
        silence_at = NEVER
        if self.spec.silence_s is not None and not is_paused:
            silence_at = self.last_output_at + self.spec.silence_s
        return min(self.kill_at, self.begin_by, self._wall_at, silence_at, self.cpu_check_at)

    @property
    def _wall_at(self) -> float:
        return self.started_at + self.held_s + self.spec.wall_s

    def exceeded(self, now: float, *, is_paused: bool) -> Limit | None:
        """The clock's limit that is over, if one is and none was before."""
        if self.limit:
            return None
        if now >= self._wall_at:
            return Limit.WALL
        if self.spec.silence_s is not None and not is_paused and now >= self.last_output_at + self.spec.silence_s:
            return Limit.SILENCE
        return None

    def exceeds_cpu(self, now: float, living_s: float) -> bool:
        """Whether the CPU limit is over; if not, set when to look again: not before all cores could have used it up."""
        left_s = (self.spec.cpu_s or 0.0) - self.usage.cpu_s - living_s + self.cpu_before_s
        self.cpu_check_at = now + max(_CPU_CHECK_MIN_S, left_s / (os.cpu_count() or 1))
        return left_s <= 0

    def shift(self, held_s: float) -> None:
        """The job was stopped for `held_s`: its clocks go on where they stood."""
        self.held_s += held_s
        self.last_output_at += held_s
        self.begin_by += held_s

    def close(self) -> dict[str, object]:
        """Close the agent's ends; return what the child reported before it became the program."""
        report = _last_report(self.child.status) if self.child.status >= 0 else {}
        self.child.close()
        return report

    def summary(self, now: float) -> dict[str, object]:
        """The fields of EXITED that the job itself determines."""
        has_ended = self.cell is not None and self.cell.status is not None
        status = None if has_ended else self.wait_status
        code = os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None
        return {
            "id": self.spec.id,
            "code": self.cell.status if self.cell and has_ended else code,
            "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            "limit": self.limit,
            "cancelled": self.cancelled,
            "wall_s": max(0.0, now - self.started_at - self.held_s) if self.pid else 0.0,
            "cpu_s": self.usage.cpu_s,
            "maxrss_bytes": self.usage.maxrss_bytes,
            "stdout_bytes": self.counts[Kind.STDOUT],
            "stderr_bytes": self.counts[Kind.STDERR],
            "held_s": self.held_s,
        }


def _last_report(fd: int) -> dict[str, object]:
    """The child may report twice: what it is about to do, and that it failed."""
    report: dict[str, object] = {}
    try:
        for line in os.read(fd, _STATUS_BYTES).splitlines():
            report |= json.loads(line)
    except BlockingIOError:
        return report  # killed before it came to that, by something that still holds the pipe
    return report
