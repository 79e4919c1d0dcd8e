"""How does a job start at once? Its process was forked ahead of it, with the job's rights, and waits for the spec.

Fork, uid and most of the page faults of an interpreter's end cost three quarters of a small job (decision 8). A process
that waits has run none but the agent's code; while foreign code runs, none waits.
"""

from __future__ import annotations

import os

from leasebox_guest.frames import Kind

_ORDERS_BYTES = 64 << 10


class Child:
    """A process that is a job or waits to be one, as the agent sees it: its pid, and the agent's ends of its pipes.

    Attributes:
        pid: 0 until it is forked.
        outputs: What can be read of it, and the kind of frame that carries it.
    """

    __slots__ = ("_orders", "outputs", "pid", "status", "stdin")

    def __init__(self) -> None:
        self.pid = 0
        self.stdin = self.status = self._orders = -1
        self.outputs: dict[int, Kind] = {}

    def open(self, *, for_everyone: bool) -> tuple[int, ...]:
        """Make the pipes, keep the agent's ends (non-blocking), return the job's; see `fork`."""
        job_stdin, self.stdin = os.pipe()
        stdout, job_stdout = os.pipe()
        stderr, job_stderr = os.pipe()
        self.status, job_status = os.pipe()
        job_orders, self._orders = os.pipe()
        self.outputs = {stdout: Kind.STDOUT, stderr: Kind.STDERR}
        for fd in (self.stdin, stdout, stderr, self.status):
            os.set_blocking(fd, False)
        if for_everyone:
            for fd in (job_stdin, job_stdout, job_stderr):
                os.fchmod(fd, 0o666)
        return job_stdin, job_stdout, job_stderr, job_status, job_orders

    def give(self, spec: bytes, code: bytes) -> None:
        """Tell it what to be. It reads at once, whatever the size: it runs no foreign code yet.

        Raises:
            BrokenPipeError: It is dead.
        """
        view = memoryview(len(spec).to_bytes(4, "big") + spec + code)
        while view:
            view = view[os.write(self._orders, view) :]
        os.close(self._orders)
        self._orders = -1

    def close_stdin(self) -> None:
        """The end of the job's input."""
        if self.stdin >= 0:
            os.close(self.stdin)
        self.stdin = -1

    def close(self) -> None:
        """Close the agent's ends; a process that still waits for orders ends."""
        self.close_stdin()
        for fd in (*self.outputs, self.status, self._orders):
            if fd >= 0:
                os.close(fd)
        self.status = self._orders = -1
        self.outputs = {}


def fork(*, for_everyone: bool) -> tuple[Child, tuple[int, ...]]:
    """Fork a child that is to wait for orders.

    Args:
        for_everyone: The job has another uid, which must be able to open /dev/stdin and the like again.

    Returns:
        In the agent: the child, and nothing. In the child, where `pid` is 0: also its ends of the pipes, which are
        stdin, stdout, stderr, status and orders.

    Raises:
        OSError: No process can be made; nothing is left open.
    """
    child = Child()
    pipes = child.open(for_everyone=for_everyone)
    try:
        child.pid = os.fork()
    except OSError:
        child.close()
        _close(pipes)
        raise
    if child.pid == 0:
        return child, pipes
    _close(pipes)
    return child, ()


def cell_child(pid: int, *, for_everyone: bool) -> tuple[Child, tuple[int, ...]]:
    """The interpreter as the child of one cell: it lives already, and what would be its status is its result channel.

    Returns:
        The child, and its ends of the pipes, to be handed over and closed: stdin, stdout, stderr and results.
    """
    child = Child()
    *pipes, orders = child.open(for_everyone=for_everyone)
    os.close(orders)
    os.close(child._orders)
    child.outputs[child.status] = Kind.DISPLAY
    child.pid, child.status, child._orders = pid, -1, -1
    return child, tuple(pipes)


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)


def take_orders(fd: int) -> tuple[bytes, bytes]:
    """In the child: wait for the payload of EXEC and the code. Both are empty if the agent ended or let go."""
    parts = []
    while part := os.read(fd, _ORDERS_BYTES):
        parts.append(part)
    data = b"".join(parts)
    size = int.from_bytes(data[:4], "big")
    return data[4 : 4 + size], data[4 + size :]
