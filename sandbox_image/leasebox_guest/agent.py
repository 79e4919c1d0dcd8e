"""Who runs the jobs of a sandbox? One thread with one epoll, as PID 1, which never runs foreign code itself.

Frames come in, a job is forked, its output goes out; clocks, limits and the end of every process are decided here.
An exception ends PID 1 with exit code 70 (sitecustomize.py sees to that), and the host sees the end of the stream.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from leasebox_guest import job, parity, posix
from leasebox_guest.channel import Channel, HostGoneError
from leasebox_guest.frames import Kind
from leasebox_guest.jobs import InJob, Jobs
from leasebox_guest.loop import WRITABLE
from leasebox_guest.pages import Pages, writable
from leasebox_guest.preload import preload
from leasebox_guest.run import NEVER, ProtocolError, Run
from leasebox_guest.settings import SEPARATOR, VARIABLE, Settings
from leasebox_guest.spec import Spec, SpecError, announced
from leasebox_guest.sweep import SIGCONT, SIGTERM

_REATTACH_POLL_S = 0.25


def serve(bare: frozenset[str]) -> None:
    """Be the agent. Returns only in a forked job that goes on as `main.py`; PID 1 ends by `os._exit`.

    Args:
        bare: The names that `python3 main.py` has in `sys.modules` at this point.
    """
    started_at, *argv = os.environ[VARIABLE].split(SEPARATOR)
    settings = Settings(argv, started_at=float(started_at), is_pid_1=os.getpid() == 1)
    parity.remember_start(bare)
    posix.set_dumpable(False)
    if os.getpid() != 1:
        posix.become_subreaper()
    channel = _take_channel()
    rights = job.Rights(settings)
    if rights.switches:
        os.setgroups([])
    before = writable()
    loaded = preload(settings, rights)
    pages = Pages(before, writable())
    if settings.egress:
        from leasebox_guest.egress import Forwarder  # not at the top: most sandboxes have no network
    sys.stdout.flush()
    parity.remember_loaded()
    agent = Agent(settings, channel, rights, pages, loaded)
    if settings.egress:
        Forwarder(agent.loop, settings.egress)
    job.prepare_forks()
    me = os.getpid()
    try:
        agent.serve()
    except InJob:
        return
    except BaseException:
        if os.getpid() == me:
            agent.processes.sweep()  # where this is not PID 1, nobody else would
        raise


def _take_channel() -> Channel:
    """Move the host's ends away from 0 and 1, so that nothing which prints can write into the frames."""
    channel = Channel(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return channel


class Agent(Jobs):
    """The loop, and what the host says."""

    def __init__(
        self, settings: Settings, channel: Channel, rights: job.Rights, pages: Pages, preloaded: list[str]
    ) -> None:
        super().__init__(settings, channel, rights, pages)
        self.preloaded = preloaded
        self.last_word_at = time.monotonic()
        self._listen_again_at = NEVER
        self._is_out_watched = False
        self._frame_handlers: dict[int, Callable[[bytes], None]] = {
            Kind.HELLO: self._on_hello,
            Kind.EXEC: self._on_exec,
            Kind.CODE: self._on_code,
            Kind.STDIN: self._on_stdin,
            Kind.CANCEL: self._on_cancel,
            Kind.PING: lambda payload: self.channel.send(Kind.PONG, payload),
            Kind.HOLD: self._on_hold,
            Kind.RESUME: self._on_resume,
            Kind.RESYNC: self._on_resync,
            Kind.BYE: lambda _payload: self._leave(),
        }

    # The loop

    def serve(self) -> None:
        """Serve until BYE, the end of the input, or a long silence; none of them returns. Raises `InJob` in a job."""
        self.loop.watch_children(self._reap)
        self.loop.watch(self.channel.source, self._on_host)
        self._send_ready(None)
        while True:
            self._flush()
            self.loop.turn(self._timeout_s())
            self._tick(time.monotonic())

    def _timeout_s(self) -> float:
        at = min(
            self.last_word_at + self.settings.exit_after_s,
            self._listen_again_at,
            self._let_child_go_at,
            self._take_over_at,
            self._fork_at,
            self._rest_at,
        )
        if self.run or self.channel.is_inside_frame:
            at = min(at, self.last_word_at + self.settings.dead_man_s)
        if self.run:
            at = min(at, self.run.next_deadline(is_held=self.held_since is not None, is_paused=self._is_paused))
        return max(0.0, at - time.monotonic())

    def _tick(self, now: float) -> None:
        """Act on what is overdue."""
        if now >= self._listen_again_at:
            self._listen_again_at = NEVER
            self.loop.watch(self.channel.source, self._on_host)
        if now >= self._fork_at:
            self._fork_ahead()
        if now >= self._rest_at:
            self._rest()
        if now >= self._take_over_at:
            self._take_over_at = NEVER
            self.pages.take_over(self.channel.source)
        if now >= self._let_child_go_at:
            self._let_child_go()
        silence_s = now - self.last_word_at
        if silence_s >= self.settings.exit_after_s:
            self._leave()
        if silence_s >= self.settings.dead_man_s:
            self.channel.forget_partial_input()
            if self.run:
                self._finish(error=f"dead_man: no word from the host for {silence_s:.1f} s")
        if self.run and self.run.pid:
            self._check_limits(self.run, now)

    # The host

    def _on_host(self) -> None:
        try:
            received = self.channel.receive()
        except HostGoneError:
            self._on_end_of_input()
            return
        if received is None:
            return
        self.last_word_at = time.monotonic()
        for kind, payload in received:
            handler = self._frame_handlers.get(kind)
            if handler is None:
                raise ProtocolError(f"frame of type {kind}")
            handler(payload)

    def _on_end_of_input(self) -> None:
        if self.settings.leaves_at_eof:
            self._leave()
        self.loop.unwatch(self.channel.source)  # nobody is attached: look again later, the dead-man's clock runs
        self._listen_again_at = time.monotonic() + _REATTACH_POLL_S

    def _flush(self) -> None:
        try:
            self.channel.flush()
        except HostGoneError:
            if self.settings.leaves_at_eof:
                self._leave()
            self.channel.drop()
        waits = self.channel.queued_bytes > 0
        if waits != self._is_out_watched:
            self._is_out_watched = waits
            if waits:
                self.loop.watch(self.channel.target, lambda: None, WRITABLE)
            else:
                self.loop.unwatch(self.channel.target)
        self._set_paused()

    def _send_ready(self, token: str | None) -> None:
        first: dict[str, object] = {} if token is None else {"token": token}
        self.channel.send_json(
            Kind.READY,
            **first,
            version=1,
            python=".".join(str(part) for part in sys.version_info[:3]),
            uid=self.rights.uid,
            interpreter="kept" if self.interpreter.pid else "none",
            preloaded=self.preloaded,
            start_ms=round((time.monotonic() - self.settings.started_at) * 1000, 3),
        )

    def _leave(self) -> None:
        self.processes.sweep()
        os._exit(0)

    # Frames

    def _on_hello(self, _payload: bytes) -> None:
        """A host is there; READY was sent already."""

    def _on_exec(self, payload: bytes) -> None:
        try:
            spec = Spec(payload, self.settings.workspace)
        except SpecError as exc:
            self._refuse(payload, f"invalid: {exc}")
            return
        if self.run or self.held_since is not None:
            self._refuse(payload, "held" if self.held_since is not None else "busy")
            return
        self.run = Run(spec, payload, time.monotonic())
        self._start_if_ready()

    def _refuse(self, payload: bytes, reason: str) -> None:
        ident, code_bytes = announced(payload)
        self._code_to_skip += code_bytes
        self.channel.send_json(Kind.REFUSED, id=ident, reason=reason)

    def _on_code(self, payload: bytes) -> None:
        if self.run and not self.run.pid:
            self.run.take_code(payload)
            self._start_if_ready()
        elif len(payload) <= self._code_to_skip:
            self._code_to_skip -= len(payload)
        else:
            raise ProtocolError("CODE that no EXEC announced")

    def _on_stdin(self, payload: bytes) -> None:
        if self.run:
            self.run.take_input(payload)
            if self.run.pid and self.run.begin_by == NEVER:
                self._feed(self.run)

    def _on_cancel(self, payload: bytes) -> None:
        fields = json.loads(payload)
        run = self.run
        if run is None or fields["id"] != run.spec.id:
            return  # it has ended meanwhile
        run.cancelled = True
        if run.pid:
            grace_s = float(fields.get("grace_s", run.spec.cancel_grace_s))
            run.kill_at = min(run.kill_at, time.monotonic() + grace_s)
            if run.cell:
                self._interrupt(run, grace_s)
            else:
                self.processes.signal(SIGTERM, spare=self.interpreter.pid)

    def _on_hold(self, _payload: bytes) -> None:
        if self.held_since is None:
            self.held_since = time.monotonic()
            if self.run and self.run.pid and not self.processes.freeze():
                self._finish(error="could not be stopped")
        self.channel.send_json(Kind.HELD)

    def _on_resume(self, _payload: bytes) -> None:
        if self.held_since is not None:
            self._let_go()
            is_cell = self.run is not None and self.run.cell is not None
            self.processes.signal(SIGCONT, spare=0 if is_cell else self.interpreter.pid)
            self._start_if_ready()

    def _let_go(self) -> None:
        if self.held_since is not None:
            if self.run and self.run.pid:
                self.run.shift(time.monotonic() - self.held_since)
            self.held_since = None

    def _on_resync(self, payload: bytes) -> None:
        fields = json.loads(payload) if payload else {}
        if self.run:
            self._finish()
        self._let_go()
        self._code_to_skip = 0
        self.channel.drop()
        self._send_ready(fields.get("token"))
