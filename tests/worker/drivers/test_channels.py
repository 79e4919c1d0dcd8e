"""Bytes come through channels whole, whatever way they are cut."""

import os
import socket

import pytest

from leasebox_worker.drivers.base import ChannelClosed
from leasebox_worker.drivers.channels import CRASH_BYTES, AttachChannel, EngineDemux, PipeChannel


def framed(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize("portion", [1, 2, 7, 8, 9, 1000])
def test_engine_framing_survives_any_cut(portion):
    wire = framed(1, b"out") + framed(2, b"crash") + framed(1, b"") + framed(1, b"x" * 300)
    demux = EngineDemux()

    seen: dict[int, bytes] = {1: b"", 2: b""}
    for at in range(0, len(wire), portion):
        for stream, payload in demux.feed(wire[at : at + portion]):
            seen[stream] += payload

    assert seen == {1: b"out" + b"x" * 300, 2: b"crash"}


def test_attach_channel_gives_out_stdout_and_keeps_the_tail_of_stderr():
    ours, theirs = socket.socketpair()
    channel = AttachChannel(ours, framed(1, b"early"))
    theirs.sendall(framed(2, b"a" * CRASH_BYTES + b"end") + framed(1, b"late"))

    received = [channel.receive(1.0), channel.receive(1.0)]
    theirs.close()

    assert received == [b"early", b"late"]
    assert channel.crash_text.endswith("end")
    assert len(channel.crash_text) == CRASH_BYTES
    with pytest.raises(ChannelClosed):
        channel.receive(1.0)


@pytest.fixture
def pipes():
    """A channel and the agent's ends: stdin to read, stdout and stderr to write."""
    (stdin_read, stdin_write), (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe(), os.pipe()
    channel = PipeChannel(stdin_write, out_read, err_read)
    ends = {"stdin": stdin_read, "stdout": out_write, "stderr": err_write}
    yield channel, ends
    channel.close()
    for number in ends.values():
        os.close(number)


def test_pipe_channel_takes_and_gives(pipes):
    channel, ends = pipes
    channel.send(b"hello")
    os.write(ends["stdout"], b"world")
    os.write(ends["stderr"], b"oops")

    assert os.read(ends["stdin"], 10) == b"hello"
    assert channel.receive(1.0) == b"world"
    assert channel.crash_text == "oops"


def test_a_closed_pipe_channel_refuses(pipes):
    channel, _ = pipes
    channel.close()
    channel.close()

    with pytest.raises(ChannelClosed):
        channel.send(b"x")
    with pytest.raises(ChannelClosed):
        channel.receive(0.0)


def test_the_agents_last_words_are_kept_when_it_ends(pipes):
    channel, ends = pipes
    os.write(ends["stderr"], b"Traceback")
    os.close(ends.pop("stdout"))

    with pytest.raises(ChannelClosed):
        channel.receive(1.0)

    assert channel.crash_text == "Traceback"
