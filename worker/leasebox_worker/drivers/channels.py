"""How do bytes travel between the worker and an agent? Over the engine's attach socket, or over three plain pipes."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from leasebox_worker.drivers.base import ChannelClosed

CRASH_BYTES = 8192
_READ_BYTES = 1 << 18

_HEADER = 8
_STDERR_STREAM = 2


class _CrashTail:
    """The last `CRASH_BYTES` of a stream."""

    def __init__(self) -> None:
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Take more; what is too old falls out."""
        self._tail = (self._tail + data)[-CRASH_BYTES:]

    def __str__(self) -> str:
        return self._tail.decode(errors="replace")


class EngineDemux:
    """Takes the engine's framing apart: `u8 stream, 3 zero bytes, u32 big-endian length`, then that many bytes.

    Source: Docker Engine API, "Attach to a container", stream format.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(stream, payload) pairs; a payload is passed on as far as it has come."""
        buffer = self._buffer
        buffer += data
        while len(buffer) > _HEADER:
            stream, size = buffer[0], int.from_bytes(buffer[4:_HEADER], "big")
            have = min(size, len(buffer) - _HEADER)
            with memoryview(buffer) as view:
                payload = bytes(view[_HEADER : _HEADER + have])
            yield stream, payload
            if have < size:
                # What remains of this payload gets a header of its own, so no other state is needed.
                buffer[:] = bytes((stream, 0, 0, 0)) + (size - have).to_bytes(4, "big")
                return
            del buffer[: _HEADER + have]


class AttachChannel:
    """Attached stdin, stdout and stderr of a container's PID 1. Closing it leaves the container running."""

    def __init__(self, connection: socket.socket, first: bytes = b"") -> None:
        connection.settimeout(None)
        self._socket = connection
        self._demux = EngineDemux()
        self._early = first
        self._crash = _CrashTail()
        self._send_lock = threading.Lock()
        self._closed = False

    @property
    def crash_text(self) -> str:
        """See `base.Channel`."""
        return str(self._crash)

    def send(self, data: bytes) -> None:
        """See `base.Channel`."""
        with self._send_lock, _closed_channel():
            self._socket.sendall(data)

    def receive(self, timeout_s: float | None) -> bytes | None:
        """See `base.Channel`."""
        deadline = _deadline(timeout_s)
        while True:
            out = self._split(self._read(deadline))
            if out is None or out:
                return out

    def _read(self, deadline: float | None) -> bytes | None:
        if self._early:
            early, self._early = self._early, b""
            return early
        if not _readable([self.fileno()], deadline):
            return None
        with _closed_channel():
            data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ChannelClosed("the engine ended the stream")
        return data

    def _split(self, data: bytes | None) -> bytes | None:
        if data is None:
            return None
        parts: list[bytes] = []
        for stream, payload in self._demux.feed(data):
            if stream == _STDERR_STREAM:
                self._crash.add(payload)
            else:
                parts.append(payload)
        return b"".join(parts)

    def fileno(self) -> int:
        """See `base.Channel`."""
        number = self._socket.fileno()
        if number < 0:
            raise ChannelClosed("the channel was closed")
        return number

    def close(self) -> None:
        """See `base.Channel`."""
        if self._closed:
            return
        self._closed = True
        # close() alone would leave a thread that waits in poll() waiting for ever.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class PipeChannel:
    """The three pipes of a process that this worker started. Closing it ends the agent (`--eof exit`)."""

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        for number in (stdin, stdout, stderr):
            os.set_blocking(number, False)
        # Readable for ever once close() runs, so that a thread in send() or receive() wakes; a pipe has no shutdown().
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._crash = _CrashTail()
        self._send_lock = threading.Lock()
        self._receive_lock = threading.Lock()
        self._closed = False

    @property
    def crash_text(self) -> str:
        """See `base.Channel`."""
        return str(self._crash)

    def send(self, data: bytes) -> None:
        """See `base.Channel`."""
        with self._send_lock, _closed_channel():
            view = memoryview(data)
            while view:
                self._wait_writable()
                view = view[os.write(self._stdin, view) :]

    def _wait_writable(self) -> None:
        """A pipe that poll calls writable takes at least a page, so the write after it never answers EAGAIN."""
        if not self._closed:
            poll = select.poll()
            poll.register(self._stdin, select.POLLOUT)
            poll.register(self._wake_read, select.POLLIN)
            poll.poll()
        if self._closed:
            raise ChannelClosed("the channel was closed")

    def receive(self, timeout_s: float | None) -> bytes | None:
        """See `base.Channel`."""
        deadline = _deadline(timeout_s)
        with self._receive_lock:
            while not self._closed:
                watched = [self._stdout, self._stderr, self._wake_read]
                ready = _readable([number for number in watched if number >= 0], deadline)
                if not ready:
                    return None
                if self._stderr in ready:
                    self._drain_stderr()
                if self._stdout in ready:
                    return self._read_stdout()
        raise ChannelClosed("the channel was closed")

    def _read_stdout(self) -> bytes:
        with _closed_channel():
            data = os.read(self._stdout, _READ_BYTES)
        if not data:
            self._drain_stderr()
            raise ChannelClosed("the agent closed its stdout")
        return data

    def _drain_stderr(self) -> None:
        while self._stderr >= 0:
            try:
                data = os.read(self._stderr, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                os.close(self._stderr)
                self._stderr = -1
            self._crash.add(data)

    def fileno(self) -> int:
        """See `base.Channel`."""
        if self._closed:
            raise ChannelClosed("the channel was closed")
        return self._stdout

    def close(self) -> None:
        """See `base.Channel`."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake_write, b"x")
        with self._receive_lock, self._send_lock:
            for number in (self._stdin, self._stdout, self._stderr, self._wake_read, self._wake_write):
                if number >= 0:
                    os.close(number)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _readable(numbers: list[int], deadline: float | None) -> set[int]:
    poll = select.poll()
    for number in numbers:
        poll.register(number, select.POLLIN)
    wait_ms = None if deadline is None else max(0.0, (deadline - time.monotonic()) * 1000)
    return {number for number, _ in poll.poll(wait_ms)}


@contextmanager
def _closed_channel() -> Iterator[None]:
    try:
        yield
    except ChannelClosed:
        raise
    except OSError as exc:
        raise ChannelClosed(f"the agent is gone: {exc.strerror or exc}") from exc
