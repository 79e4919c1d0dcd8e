"""What is the agent waiting for? Descriptors with a handler each, and the death of children."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of it all, at 1 ms
import os
import select
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
_WAKE_BYTES = 4096
_OF_PYTHON = (_signal.SIGPIPE, _signal.SIGXFSZ)
"""Every Python ignores these from its start."""


class Loop:
    """One epoll. The end of a stream and errors count as readable and writable."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, handler: Callable[[], None], events: int = READABLE) -> None:
        """Call `handler` whenever `fd` is ready; one that is watched already only gets the new handler."""
        if fd not in self._handlers:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Stop watching, before `fd` is closed: a closed number is soon another descriptor's."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def watch_children(self, handler: Callable[[], None]) -> None:
        """Call `handler` when a child has ended. From here on this process has the signal handlers of an agent."""
        wake, alarm = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(alarm, False)
        for number in _signal.valid_signals():  # a worker that `nohup` started ignores some, and so would all jobs
            if number not in _OF_PYTHON and _signal.getsignal(number) == _signal.SIG_IGN:
                _signal.signal(number, _signal.SIG_DFL)
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Python's own would let a job of the same uid interrupt PID 1
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
        _signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)

        def _woken() -> None:
            os.read(wake, _WAKE_BYTES)
            handler()

        self.watch(wake, _woken)

    def turn(self, timeout_s: float) -> None:
        """Wait for whatever is ready and handle it."""
        for fd, _ in self._epoll.poll(timeout_s):
            if handler := self._handlers.get(fd):  # an earlier one of this turn may have taken it out
                handler()

    def close(self) -> None:
        """In a forked child, by itself: later the epoll's number may be another descriptor's."""
        self._epoll.close()
