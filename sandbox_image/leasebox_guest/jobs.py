"""What happens to the one job of a sandbox: how it starts, is watched and limited, and ends?

A program is a fork that ends; a cell is given to the kept interpreter, which is frozen again when the cell has ended.
"""

from __future__ import annotations

import os
import time

from leasebox_guest import ending, job
from leasebox_guest.cell import Cell
from leasebox_guest.channel import PORTION_BYTES, Channel
from leasebox_guest.child import Child, cell_child, fork
from leasebox_guest.frames import Kind
from leasebox_guest.interpreter import BEGIN_WITHIN_S, FIRST_WITHIN_S, Interpreter
from leasebox_guest.loop import WRITABLE, Loop
from leasebox_guest.pages import Pages
from leasebox_guest.preload import AtRest
from leasebox_guest.run import NEVER, Limit, Run
from leasebox_guest.settings import Settings
from leasebox_guest.spec import JobKind
from leasebox_guest.sweep import SIGCONT, Processes

HIGH_BYTES = 256 << 10
LOW_BYTES = 64 << 10
WAIT_AHEAD_S = 10.0
"""A process that waits for a job holds some 6 MiB: a sandbox that is idle for longer gives them back."""
FORK_AFTER_S = 0.003
"""So long after a job's end the next one's process is forked: host and Redis need the processors for the end first."""
AT_REST_S = 0.1
"""The same where the host expects no job soon: behind most such jobs the sandbox itself ends, or nobody is in haste.

So long after its start, too, a sandbox begins to load what programs are likely to want."""
BUSY_FOR_S, BUSY_AT_MOST_S = 1.0, 5.0
"""And so long after a time when processors were short; whoever is at rest for so long does it all the same."""
CLOSE_S = 0.005
"""A job that comes so soon after the last one found no process ready: behind it the next one is forked at once."""
TAKE_OVER_AFTER_S = 0.004
"""So long after a fork the agent takes over its pages: the child has copied them by then, and has them no more."""


class InJob(BaseException):
    """This is the forked job now: leave the loop, go back into the interpreter."""


class Jobs:
    """The job that runs, and the interpreter that stays."""

    def __init__(self, settings: Settings, channel: Channel, rights: job.Rights, pages: Pages) -> None:
        self.settings = settings
        self.channel = channel
        self.rights = rights
        self.pages = pages
        self.processes = Processes()
        self.loop = Loop()
        self.interpreter = Interpreter(self.loop, self.processes, rights, settings)
        self.run: Run | None = None
        self.waiting: Child | None = None
        self.held_since: float | None = None
        self._code_to_skip = 0
        self._at_rest = AtRest(settings.loads_at_rest)
        self._at_rest_since = time.monotonic()
        self._rest_at = self._at_rest_since + AT_REST_S
        self._fork_at = self._let_child_go_at = self._take_over_at = NEVER
        self._is_paused = False
        self._ended_at = 0.0
        self._fork_after_s = FORK_AFTER_S

    def _check_limits(self, run: Run, now: float) -> None:
        if now >= run.kill_at:
            self._finish()
        elif self.held_since is None and now >= run.begin_by:
            self._start_again(run)
        elif self.held_since is None:
            limit = run.exceeded(now, is_paused=self._is_paused)
            if limit is None and now >= run.cpu_check_at and run.exceeds_cpu(now, self.processes.cpu_s()):
                limit = Limit.CPU
            if limit:
                self._stop_for(limit)

    def _set_paused(self) -> None:
        """Above HIGH the job's output is left in its pipes, so that it blocks; at LOW it is read again."""
        if not self.run:
            self._is_paused = False
        elif not self._is_paused and self.channel.queued_bytes > HIGH_BYTES:
            self._is_paused = True
            for fd in self.run.child.outputs:
                self.loop.unwatch(fd)
        elif self._is_paused and self.channel.queued_bytes <= LOW_BYTES:
            self._is_paused = False
            self.run.last_output_at = time.monotonic()  # it was not the job that was silent
            self._watch_outputs(self.run)

    def _start_if_ready(self) -> None:
        if self.run and not self.run.pid and self.run.is_complete and self.held_since is None:
            self._start(self.run)

    def _start(self, run: Run) -> None:
        if run.cancelled:
            self._finish()
            return
        if self.interpreter.pid:
            run.had_interpreter = True
            run.cpu_before_s = self.processes.cpu_s()
        if run.spec.kind is JobKind.CELL:
            self._start_cell(run)
            return
        try:
            child = self._give_to_child(run)
        except OSError as exc:
            self._finish(error=f"could not start: {exc}")
            return
        run.started(child, time.monotonic())
        run.code = bytearray()
        self.channel.send_json(Kind.STARTED, id=run.spec.id, pid=run.pid)
        self._watch_outputs(run)
        self._feed(run)

    def _give_to_child(self, run: Run) -> Child:
        self._fork_after_s = 0.0 if time.monotonic() - self._ended_at < CLOSE_S else FORK_AFTER_S
        child, self.waiting = self.waiting or self._fork(), None
        self._fork_at = self._let_child_go_at = self._take_over_at = NEVER
        try:
            child.give(run.payload, bytes(run.code))
        except BrokenPipeError:  # the kernel took it, for memory
            child.close()
            child = self._fork()
            child.give(run.payload, bytes(run.code))
        return child

    def _fork(self) -> Child:
        child, pipes = fork(for_everyone=self.rights.switches)
        if child.pid == 0:
            self.loop.close()
            job.wait(pipes, self.rights, self.settings, self.pages)
            raise InJob
        return child

    def _fork_ahead(self) -> None:
        """Once after each job, when the host has its end: the next one finds its process ready."""
        self._fork_at = NEVER
        try:
            self.waiting = self._fork()
            self._take_over_at = time.monotonic() + TAKE_OVER_AFTER_S
            self._let_child_go_at = time.monotonic() + WAIT_AHEAD_S
        except OSError as exc:
            os.write(2, f"fork ahead: {exc}\n".encode())  # the job itself will try again, and say so

    def _rest(self) -> None:
        """Use the time in which nobody wants anything, unless processors are short: get ready what a job may want."""
        self._rest_at = NEVER
        if self.run or (self._at_rest.is_done and (self.waiting or self.interpreter.pid)):
            return  # at the job's end there is another time
        if self.pages.is_busy() and time.monotonic() < self._at_rest_since + BUSY_AT_MOST_S:
            self._rest_at = time.monotonic() + BUSY_FOR_S
        elif not self._at_rest.is_done:
            self._let_child_go()  # it has not what is loaded now
            self._at_rest.load_one()
            self._rest_at = 0.0  # when the host has been heard
        else:
            self._fork_ahead()

    def _let_child_go(self) -> None:
        self._let_child_go_at = self._take_over_at = NEVER
        if self.waiting:
            self.waiting.close()
            self.waiting = None

    def _start_cell(self, run: Run) -> None:
        """Hand a cell to the interpreter, thawed or new; the job has begun when that says so."""
        assert run.cell
        self._let_child_go()  # while foreign code runs, none waits
        try:
            if not self.interpreter.pid:
                self.interpreter.spawn(run.spec)
            child, pipes = cell_child(self.interpreter.pid, for_everyone=self.rights.switches)
        except OSError as exc:
            self._finish(error=f"could not start: {exc}")
            return
        run.had_interpreter = True
        now = time.monotonic()
        run.started(child, now)
        run.begin_by = now + (FIRST_WITHIN_S if self.interpreter.is_new else BEGIN_WITHIN_S)
        self.interpreter.give(run.cell.id, run.spec, bytes(run.code), pipes)
        self.processes.signal(SIGCONT)
        for fd in pipes:
            os.close(fd)
        self._watch_outputs(run)

    def _start_again(self, run: Run) -> None:
        """The interpreter does not read its cell: a new one does, and says that the old one's state is lost."""
        if self.interpreter.is_new:
            self._finish(error="the interpreter did not start")
            return
        ended, is_clean = self.processes.sweep(run.usage)
        self._bury(run, ended, "unresponsive")
        if not is_clean:
            self._finish(error="the interpreter could not be ended")
            return
        self._close(run)
        run.cell, run.cpu_before_s = Cell(), 0.0
        self._start_cell(run)

    def _heed(self, run: Run) -> None:
        """Act on what the interpreter has said of its cell."""
        assert run.cell
        if run.cell.has_begun and run.begin_by != NEVER:
            run.begin_by = NEVER
            run.code = bytearray()
            self.channel.send_json(Kind.STARTED, id=run.spec.id, pid=run.pid, restarted=self.interpreter.begun())
            self._feed(run)
            if run.is_interrupted:
                self.interpreter.interrupt()  # before this there was nothing to interrupt
        if run.error or run.cell.status is not None:
            self._finish(error=run.error)

    def _interrupt(self, run: Run, grace_s: float) -> None:
        """Ask a cell to end by itself, which keeps the interpreter; it is killed when its grace is over."""
        if not run.is_interrupted:
            run.is_interrupted = True
            run.kill_at = min(run.kill_at, time.monotonic() + grace_s)
            if run.begin_by == NEVER:
                self.interpreter.interrupt()

    def _watch_outputs(self, run: Run) -> None:
        for fd in run.child.outputs:
            self.loop.watch(fd, lambda fd=fd: self._on_output(run, fd))  # type: ignore[misc]

    def _on_output(self, run: Run, fd: int) -> None:
        if run is self.run and not self._read_output(run, fd):
            self.loop.unwatch(fd)
            del run.child.outputs[fd]
            os.close(fd)
        if run is self.run and run.limit:
            self._stop_for(run.limit)
        if run is self.run and run.cell:
            self._heed(run)
        self._set_paused()

    def _read_output(self, run: Run, fd: int) -> bool:
        """Forward one portion; False at the end."""
        kind = run.child.outputs[fd]
        try:
            data = os.read(fd, PORTION_BYTES)
        except BlockingIOError:
            return True
        if kind is Kind.DISPLAY:
            run.last_output_at = time.monotonic()
            for other in [fd for fd, kind in run.child.outputs.items() if kind is not Kind.DISPLAY]:
                self._read_output(run, other)  # what was printed before something is shown, is told before it
            ending.forward(run, data, self.channel)
        elif kept := run.count(kind, data):
            run.last_output_at = time.monotonic()
            self.channel.send(kind, kept)
        return bool(data)

    def _feed(self, run: Run) -> None:
        self.loop.unwatch(run.child.stdin)  # before it may be closed: a closed number is soon another descriptor's
        if done := run.feed():
            self.channel.send_json(Kind.CREDIT, n=done)
        if run.wants_to_write:
            self.loop.watch(run.child.stdin, lambda: self._on_room(run), WRITABLE)

    def _on_room(self, run: Run) -> None:
        if run is self.run:
            self._feed(run)

    def _reap(self) -> None:
        run = self.run
        ended = self.processes.reap(run.usage if run else None)
        self._bury(run, ended)
        if run and run.pid in ended:
            run.wait_status = ended[run.pid]
            self._finish()

    def _stop_for(self, limit: Limit) -> None:
        """End the job for a limit, unless it has just ended by itself."""
        self._reap()
        if self.run:
            self.run.limit = limit
            if self.run.cell:
                self._interrupt(self.run, self.run.spec.cancel_grace_s)
            else:
                self._finish()

    def _finish(self, *, error: str | None = None) -> None:
        """End what runs: kill and reap all, forward what is left in the pipes, wipe, and say so."""
        run = self.run
        if run is None:
            return
        self.run = None
        self._is_paused = False
        if not run.pid:
            self._code_to_skip += run.spec.code_bytes - len(run.code)
        ended, is_clean = self._end_processes(run)
        self._let_child_go()  # the job had not started, and the sweep makes no difference
        now = time.monotonic()
        self._at_rest_since = now
        self._rest_at = now + AT_REST_S
        if run.spec.more_soon and not self.interpreter.pid:
            self._fork_at = now + self._fork_after_s
        self._ended_at = now
        if self.held_since is not None:
            run.held_s += now - self.held_since
        if run.wait_status is None:
            run.wait_status = ended.get(run.pid)
        ending.drain(run, self.channel)
        report = self._close(run)
        run.usage.cpu_s = max(0.0, run.usage.cpu_s - float(report.get("waited_cpu_s", 0.0)))  # type: ignore[arg-type]
        disk_bytes, is_full = ending.disk(self.settings)  # before anything is removed
        if isinstance(code := report.get("code"), str) and is_clean:
            self.rights.unlink(os.path.join(self.settings.workspace, code))  # noqa: PTH118
        is_kept = self.interpreter.pid != 0
        is_clean = is_clean and (is_kept or ending.wipe_roots(self.settings.wipe, self.rights, self.processes))
        is_lost = run.had_interpreter and not is_kept and self.interpreter.lost is not None
        self.channel.send_json(
            Kind.EXITED,
            **run.summary(now),
            interpreter="kept" if is_kept else "lost" if is_lost else "none",
            failure=run.cell.error if run.cell else None,
            clean=is_clean,
            disk_bytes=disk_bytes,
            disk_full=is_full,
            forked=report.get("forked", False),
            error=error or report.get("error"),
        )

    def _end_processes(self, run: Run) -> tuple[dict[int, int], bool]:
        """Kill everyone, but freeze an interpreter unless it is in the midst of a cell or is to end.

        Returns:
            The wait statuses by pid, and whether the agent is alone now, but for that interpreter.
        """
        ended: dict[int, int] = {}
        cell = run.cell if run.pid else None
        if self.interpreter.pid and (cell is None or (cell.status is not None and not cell.wants_restart)):
            ended, is_kept = self.processes.keep(self.interpreter.pid, run.usage)
            self._bury(run, ended)
            if is_kept:
                self._count_kept(run)
                return ended, True
        more, is_clean = self.processes.sweep(run.usage)
        if cell is not None and cell.wants_restart:
            why = None
        elif run.error:
            why = "channel"
        else:
            why = run.limit or ("cancelled" if run.cancelled else "stopped")
        self._bury(run, more, why)
        return ended | more, is_clean

    def _count_kept(self, run: Run) -> None:
        if run.pid:
            run.usage.cpu_s += max(0.0, self.processes.cpu_s() - run.cpu_before_s)
        if run.cell:
            run.usage.maxrss_bytes = max(run.usage.maxrss_bytes, self.interpreter.memory_peak_bytes())

    def _bury(self, run: Run | None, ended: dict[int, int], why: str | None = "") -> None:
        """Note it if the interpreter is among the dead; `why` it was ended, by default by itself."""
        status = ended.get(self.interpreter.pid)
        if status is None:
            return
        if run:
            run.usage.cpu_s = max(0.0, run.usage.cpu_s - run.cpu_before_s)
        by_itself = "exited" if os.WIFEXITED(status) else "killed"
        self.interpreter.gone(by_itself if why == "" else why)

    def _close(self, run: Run) -> dict[str, object]:
        for fd in (*run.child.outputs, run.child.stdin):
            self.loop.unwatch(fd)
        return run.close()
