"""Why there is a pool of our own: a finished thread must wake the event loop.

With plain threads and `worker_disable_prefetch`, the consumer pauses while all slots are taken, and nothing tells it
that a thread has become free: it sleeps up to a second and the worker stalls at 4-5 jobs/s (measured, CELERY.md
section 3). One byte through a pipe mends it.
"""

import os
from typing import Any

from celery.concurrency.thread import TaskPool as ThreadPool


class TaskPool(ThreadPool):  # type: ignore[misc]
    """Celery's thread pool, whose finished threads wake the hub."""

    _wake_fd: int | None = None

    def on_apply(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        applied = super().on_apply(*args, **kwargs)
        if self._wake_fd is not None:
            applied.f.add_done_callback(self._wake)
        return applied

    def _wake(self, _future: object) -> None:
        assert self._wake_fd is not None
        try:
            os.write(self._wake_fd, b"x")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def register_with_event_loop(self, hub: Any) -> None:  # noqa: D102
        reader, self._wake_fd = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(self._wake_fd, False)
        hub.add_reader(reader, self._drain, reader)

    @staticmethod
    def _drain(reader: int) -> None:
        try:
            os.read(reader, 4096)
        except BlockingIOError:
            return
