"""How to speak with one agent: open the channel, start a job, read what it says, feed it, stop it."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable

from leasebox.contract.errors import GuestProtocolError, SandboxDied, StartFailed
from leasebox_guest.frames import Decoder, FrameError, Kind, find_ready, pack, pack_json
from leasebox_worker.drivers.base import Channel, ChannelClosed
from leasebox_worker.guestlink.displays import Displays
from leasebox_worker.guestlink.messages import (
    ApartPart,
    Credit,
    DisplayPart,
    Exited,
    Held,
    Input,
    Message,
    Output,
    Ready,
    Refused,
    Restarted,
    decode,
)
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.guestlink.pulse import Pulse
from leasebox_worker.guestlink.stdin import Stdin, chunked

CANCEL_PATIENCE_S = 0.5
"""A cancel that cannot be sent for so long is left to the next heartbeat: nodes must not wait for one sandbox."""
HOLD_POLL_S = 0.05
MAX_ERRAND_STDERR_BYTES = 64 << 10
_READY_BEGINS_WITHIN = 256
"""More bytes than READY has up to the end of its token: so many are kept of a stream that is searched for it."""


class GuestLink:
    """The host's end of a sandbox's channel.

    One thread at a time executes and reads; `cancel`, `ping`, `hold` and `resume` may come from any other. The id of
    an `Exec` is `<lease>/<kind>`, so that a cancel that comes late cannot meet the next job.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._decoder = Decoder()
        self._send_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._running: str | None = None
        self._stdin = Stdin()
        self._unread: list[Message] = []
        self._hold_confirmed = threading.Event()
        self._held_since: float | None = None
        self._held_before_s = 0.0
        self._displays = Displays()
        self.pulse = Pulse()
        self.is_broken = False
        self.python = ""

    def open(self, within_s: float) -> None:
        """Wait until the agent of a new sandbox serves.

        Args:
            within_s: No READY by then: the sandbox is of no use.

        Raises:
            StartFailed: No READY in time, or the agent ended; its last words are in the detail.
        """
        deadline = time.monotonic() + within_s
        try:
            self._send(pack_json(Kind.HELLO, {}))
            while (left := deadline - time.monotonic()) > 0:
                if self._has_ready(self.read(left)):
                    return
        except SandboxDied as exc:
            raise StartFailed(f"the agent ended at its start: {self._channel.crash_text.strip() or exc}") from exc
        raise StartFailed(f"no sign of the agent within {within_s:g} s")

    def open_again(self, patience_s: float) -> None:
        """Take over an agent that served another worker: what ran there has been killed when this returns.

        Args:
            patience_s: For each of two tries; longer than the agent's dead-man time. After a host that died inside a
                frame of its own, the agent takes our first words for the rest of that frame, and gives it up once it
                has heard nothing for so long.

        Raises:
            SandboxDied: The agent is gone, or did not answer; nobody knows what runs in there.
            GuestProtocolError: It answered nonsense.
        """
        if not (self._resync(patience_s) or self._resync(patience_s)):
            raise SandboxDied(f"the agent did not answer twice within {patience_s:g} s")

    def _resync(self, within_s: float) -> bool:
        """Ask the agent to begin anew; whether it has answered. All it says before that was for the former host."""
        token, seen, is_found = secrets.token_hex(16), b"", False
        self._send(pack_json(Kind.RESYNC, {"token": token}))
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            data = self._heard(left)
            if not is_found:
                seen = seen[-_READY_BEGINS_WITHIN:] + data
                at = find_ready(seen, token)
                data, is_found = seen[max(at, 0) :], at >= 0
            if is_found and self._has_ready(self._taken(data)):
                return True
        return False

    def _has_ready(self, messages: Iterable[Message]) -> bool:
        ready = next((message for message in messages if isinstance(message, Ready)), None)
        if ready is not None:
            self.python = ready.python
        return ready is not None

    def execute(self, request: Exec, code: bytes, stdin: Iterable[bytes] | None) -> None:
        """Start a job; `stdin` is fed as the agent grants credit, then closed. None: it comes by `feed`.

        Raises:
            SandboxDied: The channel is closed.
        """
        frames = request.frames(code)
        # A ping that found the link idle may be reading: it would throw away what this job says. And a hold comes
        # before all of this or after it: the agent refuses to start anything while it is held.
        with self._read_lock, self._send_lock:
            assert self._running is None, "one job at a time"
            self._running = request.id
            self._held_before_s = 0.0
            self._stdin.begin(stdin)
            self._displays = Displays()
            self._send_locked(frames + self._stdin.next_frames())

    def feed(self, lease: str, data: bytes, *, is_end: bool) -> bool:
        """Pass standard input on to what runs under a lease, as soon as the agent has room for it.

        Only for what was executed without `stdin`, and from one thread.

        Args:
            is_end: Nothing follows; its input is closed.

        Returns:
            False if that does not run (any more): the rest was dropped.

        Raises:
            SandboxDied: The channel is closed.
        """
        parts = [*chunked(data), *([b""] if is_end else [])]
        return all(self._feed_part(lease, part) for part in parts)

    def _feed_part(self, lease: str, part: bytes) -> bool:
        if not self._stdin.reserve(len(part), lambda: self.lease == lease and not self.is_broken):
            return False
        # What is sent for a job that ends meanwhile comes before the next job, and the agent drops it.
        with self._send_lock:
            if self.lease != lease:
                return False
            self._send_locked(pack(Kind.STDIN, part))
        return True

    def read(self, timeout_s: float) -> list[Message]:
        """What the agent said since the last call; waits up to `timeout_s` for the first word.

        Raises:
            SandboxDied: The channel ended.
            GuestProtocolError: The agent said something that it may not say.
        """
        with self._read_lock:
            unread, self._unread = self._unread, []
            return unread or self._receive(timeout_s)

    def run(
        self, request: Exec, code: bytes, stdin: Iterable[bytes], *, within_s: float
    ) -> tuple[Exited, bytes, bytes]:
        """Execute and collect, for short errands such as unpacking files: how it ended, stdout and stderr.

        Raises:
            SandboxDied, GuestProtocolError: As `read`; also when it takes longer than `within_s`.
        """
        stdout = bytearray()
        exited, stderr = self.run_into(stdout.extend, request, code, stdin, within_s=within_s)
        return exited, bytes(stdout), stderr

    def run_into(
        self,
        sink: Callable[[bytes], object],
        request: Exec,
        code: bytes,
        stdin: Iterable[bytes],
        *,
        within_s: float,
    ) -> tuple[Exited, bytes]:
        """As `run`, but what comes on stdout goes to `sink` as it comes; how it ended, and stderr.

        The agent waits while `sink` works, so nothing piles up here.
        """
        self.execute(request, code, stdin)
        stderr = b""
        deadline = time.monotonic() + within_s
        while (left_s := deadline + self.held_s - time.monotonic()) > 0:
            for message in self.read(left_s):
                if isinstance(message, Output) and message.stream == "stdout":
                    sink(message.data)
                elif isinstance(message, Output):
                    stderr = (stderr + message.data)[:MAX_ERRAND_STDERR_BYTES]
                elif isinstance(message, Exited):
                    return message, stderr
                elif isinstance(message, Refused):
                    raise GuestProtocolError(f"the agent refused: {message.reason}")
        raise SandboxDied(f"the agent did not answer within {within_s:g} s")

    @property
    def is_busy(self) -> bool:
        """Whether something was started that has not ended."""
        return self._running is not None

    def cancel(self, lease: str, grace_s: float) -> None:
        """Ask what runs under a lease to end: SIGTERM, after `grace_s` SIGKILL.

        Nothing happens if that does not run (any more), or if the agent does not read: ask again later.

        Raises:
            SandboxDied: The channel is closed.
        """
        running = self._running
        if running is None or not running.startswith(f"{lease}/"):
            return
        if self._send_lock.acquire(timeout=CANCEL_PATIENCE_S):
            try:
                self._send_locked(pack_json(Kind.CANCEL, {"id": running, "grace_s": grace_s}))
            finally:
                self._send_lock.release()

    @property
    def lease(self) -> str | None:
        """The lease under which something runs; None: nothing does."""
        running = self._running
        return None if running is None else running.rpartition("/")[0]

    @property
    def held_s(self) -> float:
        """For how long what was started last has been held in all."""
        since = self._held_since
        return self._held_before_s + (0.0 if since is None else time.monotonic() - since)

    @property
    def is_held(self) -> bool:
        """Whether the agent was told to hold, and not to go on since."""
        return self._held_since is not None

    def hold(self, within_s: float) -> bool:
        """Have every process of the job stopped; True once the agent says so, or if nothing runs.

        What the job says meanwhile is kept for its reader, who may be busy elsewhere.

        Raises:
            SandboxDied, GuestProtocolError: As `read`.
        """
        deadline = time.monotonic() + within_s
        if not self._send_lock.acquire(timeout=within_s):
            return False
        try:
            if self._held_since is None:
                if self._running is None:
                    return True
                self._hold_confirmed.clear()
                self._held_since = time.monotonic()
                self._send_locked(pack(Kind.HOLD, b""))
        finally:
            self._send_lock.release()
        while not self._hold_confirmed.is_set() and time.monotonic() < deadline:
            self._await_the_hold()
        return self._hold_confirmed.is_set()

    def _await_the_hold(self) -> None:
        if not self._read_lock.acquire(timeout=HOLD_POLL_S):
            return
        try:
            if not self._hold_confirmed.is_set():
                self._unread += self._receive(HOLD_POLL_S)
        finally:
            self._read_lock.release()

    def resume(self) -> None:
        """Let go on what was held; nothing happens if nothing is.

        Raises:
            SandboxDied: The channel is closed.
        """
        with self._send_lock:
            if self._held_since is not None:
                self._held_before_s += time.monotonic() - self._held_since
                self._held_since = None
                self._send_locked(pack(Kind.RESUME, b""))

    def ping(self) -> None:
        """Tell the agent that its worker lives; an idle agent's answers are read here, and missed where none came.

        Raises:
            SandboxDied, GuestProtocolError: As `read`.
        """
        self.check()
        self.pulse.beat(is_idle=self._running is None)
        # Frames that another thread is sending say the same; a wait for it would cost every other agent its ping.
        if self._send_lock.acquire(blocking=False):
            try:
                self._send_locked(pack(Kind.PING, b""))
            finally:
                self._send_lock.release()

    def check(self) -> None:
        """Find out, without a word to the agent, whether an idle one has ended or said what it may not.

        Raises:
            SandboxDied, GuestProtocolError: As `read`.
        """
        if self._running is None and self._read_lock.acquire(blocking=False):
            try:
                if self._running is None:
                    self._receive(0.0)
            finally:
                self._read_lock.release()

    def close(self) -> None:
        """Let go of the channel; the sandbox is the driver's to end."""
        self.is_broken = True
        self._channel.close()

    def _receive(self, timeout_s: float) -> list[Message]:
        return self._taken(self._heard(timeout_s))

    def _heard(self, timeout_s: float) -> bytes:
        try:
            data = self._channel.receive(timeout_s) or b""
        except ChannelClosed as exc:
            self.is_broken = True
            raise SandboxDied("the sandbox ended") from exc
        if data:
            self.pulse.heard()
        return data

    def _taken(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, less those that only keep the state machine."""
        try:
            messages = (self._whole(decode(kind, payload)) for kind, payload in self._decoder.feed(data))
            return [message for message in messages if message is not None and self._accept(message)]
        except FrameError as exc:
            self.is_broken = True
            raise GuestProtocolError(str(exc)) from exc
        except GuestProtocolError:
            self.is_broken = True
            raise

    def _whole(self, message: Message | None) -> Message | None:
        """Put what is shown together; None while parts are missing."""
        if self._running is None and isinstance(message, DisplayPart | ApartPart | Input | Restarted):
            raise GuestProtocolError("a cell spoke that does not run")
        if isinstance(message, Input):
            self._displays.add_prompt(message)
        if isinstance(message, ApartPart):
            self._displays.add_apart(message)
        return self._displays.add(message) if isinstance(message, DisplayPart) else message

    def _accept(self, message: Message) -> bool:
        """Keep the state machine; True if the reader is to see the message."""
        match message:
            case Held():
                self._hold_confirmed.set()
                return False
            case Credit(size_bytes):
                self._stdin.credit(size_bytes)
                if self._running is not None and (more := self._stdin.next_frames()):
                    self._send(more)
                return False
            case Exited(id=job) | Refused(id=job):
                if job != self._running:
                    raise GuestProtocolError("the agent ended a job that does not run")
                self._running = None
                self._stdin.wake()
            case Output() if self._running is None:
                raise GuestProtocolError("output without a job")
        return True

    def _send(self, data: bytes) -> None:
        with self._send_lock:
            self._send_locked(data)

    def _send_locked(self, data: bytes) -> None:
        try:
            self._channel.send(data)
        except ChannelClosed as exc:
            self.is_broken = True
            raise SandboxDied("the sandbox ended") from exc
