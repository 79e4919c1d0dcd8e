"""How do bytes go between a program and the worker's socket? One pair, on the agent's own loop, without a sandbox.

The listener on its fixed port is tested in sandboxes, which have a loopback of their own (tests/worker/egress).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from tests.sandbox_image.leasebox_guest.conftest import eventually

from leasebox_guest.egress import Pair
from leasebox_guest.loop import Loop


class Joined:
    """The two far ends of a pair, and the loop that serves it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.program, client = socket.socketpair()
        self.worker, upstream = socket.socketpair()
        self.forgotten: list[Pair] = []
        for one in (self.program, self.worker, client, upstream):
            one.setblocking(False)
        self.inner = (client.detach(), upstream.detach())
        self.pair = Pair(self.loop, *self.inner, self.forgotten.append)

    def turn_until_quiet(self) -> None:
        for _ in range(50):
            self.loop.turn(0)


@pytest.fixture
def joined() -> Iterator[Joined]:
    made = Joined()
    yield made
    made.program.close()
    made.worker.close()
    made.turn_until_quiet()
    made.loop.close()


def test_bytes_go_both_ways(joined: Joined) -> None:
    joined.program.send(b"question")
    joined.turn_until_quiet()
    assert joined.worker.recv(100) == b"question"

    joined.worker.send(b"answer")
    joined.turn_until_quiet()
    assert joined.program.recv(100) == b"answer"


def test_a_program_that_has_ended_its_words_still_listens(joined: Joined) -> None:
    joined.program.send(b"last")
    joined.program.shutdown(socket.SHUT_WR)
    joined.turn_until_quiet()
    assert (joined.worker.recv(100), joined.worker.recv(100)) == (b"last", b"")

    joined.worker.send(b"answer")
    joined.turn_until_quiet()
    assert joined.program.recv(100) == b"answer"
    assert not joined.forgotten


def test_the_worker_s_end_is_the_end_once_everything_was_read(joined: Joined) -> None:
    joined.worker.send(b"x" * 100_000)
    joined.worker.close()
    got = b""

    def drained() -> bool:
        nonlocal got
        joined.turn_until_quiet()
        try:
            part = joined.program.recv(1 << 16)
        except BlockingIOError:
            return False
        got += part
        return not part

    eventually(drained)
    assert len(got) == 100_000
    assert joined.forgotten == [joined.pair]
    for fd in joined.inner:
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_worker_that_does_not_read_stops_the_program_and_nothing_piles_up(joined: Joined) -> None:
    sent = 0
    while True:
        joined.turn_until_quiet()
        try:
            sent += joined.program.send(b"x" * 65536)
        except BlockingIOError:
            break

    assert sent < 4 << 20
    assert not joined.loop._epoll.poll(0)  # nothing to do: the agent sleeps


def test_a_program_that_dies_ends_its_pair(joined: Joined) -> None:
    joined.program.close()
    joined.turn_until_quiet()
    assert joined.worker.recv(100) == b""
    joined.worker.send(b"too late")
    joined.turn_until_quiet()

    assert joined.forgotten == [joined.pair]
