"""Who is attached? Hold and resume, the dead-man, the end of the input, and a host that comes back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from leasebox_guest.frames import Decoder, Kind, find_ready, pack

KIB = 1 << 10
Spawn = Callable[..., Any]
ENDLESS = "import sys\nwhile 1: sys.stdout.write('x' * 65536)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
STORM = """
import os, signal
os.fork(); os.fork()
print('up', flush=True)
while 1:
    try: os.kill(-1, signal.SIGCONT)
    except OSError: pass
"""


def test_hold_stops_everything_and_its_clock(host: Any) -> None:
    source = "import os, time\nos.fork()\nwhile 1: print('tick', flush=True); time.sleep(0.01)"
    ident = host.start(source, wall_s=3.0)
    host.until_output(b"tick")
    host.send(Kind.HOLD)
    host.expect(Kind.HELD)
    for _ in range(40):  # nothing but the answers comes: what was written before HELD has been read before HELD
        host.send(Kind.PING)
        while True:
            kind, payload = host.next()
            if kind is Kind.PONG:
                break
            assert kind is Kind.STDOUT
            assert len(payload) < KIB

    host.send(Kind.RESUME)
    host.until_output(b"tick")
    host.send_json(Kind.CANCEL, id=ident, grace_s=0.0)

    ended = host.end()
    assert ended.held_s > 0
    assert (ended.limit, ended.cancelled) == (None, True)


@pytest.mark.slow
def test_held_time_does_not_count_for_the_wall_limit(host: Any, eventually: Any) -> None:
    host.start("print('up', flush=True); import time; time.sleep(0.5); print('done')", wall_s=1.0)
    host.until_output(b"up")
    host.send(Kind.HOLD)
    host.expect(Kind.HELD)
    reached = iter(range(10**9))
    eventually(lambda: next(reached) > 130, within_s=10)  # well over a second
    host.send(Kind.RESUME)

    ended = host.end()

    assert (ended.code, ended.limit, ended.stdout[-5:]) == (0, None, b"done\n")
    assert ended.held_s > 1.0
    assert ended.wall_s < 1.0


def test_hold_stands_against_processes_that_continue_each_other(host: Any) -> None:
    ident = host.start(STORM)
    host.until_output(b"up")

    host.send(Kind.HOLD)
    host.expect(Kind.HELD)
    host.send(Kind.RESUME)
    host.send_json(Kind.CANCEL, id=ident, grace_s=0.0)

    assert host.end().cancelled


def test_no_job_starts_while_held(host: Any) -> None:
    host.send(Kind.HOLD)
    host.expect(Kind.HELD)

    assert host.run("print(1)").refused == "held"
    host.send(Kind.RESUME)
    assert host.run("print(1)").stdout == b"1\n"


def test_cancel_ends_a_held_job(host: Any) -> None:
    ident = host.start(STUBBORN)
    host.until_output(b"up")
    host.send(Kind.HOLD)
    host.expect(Kind.HELD)

    host.send_json(Kind.CANCEL, id=ident, grace_s=0.1)

    assert host.end().cancelled
    host.send(Kind.RESUME)


@pytest.mark.slow
def test_without_a_word_from_the_host_the_job_ends_and_the_agent_stays(spawn: Spawn) -> None:
    host = spawn("r2", "--dead-man", "0.3", "--eof", "detach", "--exit-after", "10")
    host.expect(Kind.READY)
    host.start("import time; print('up', flush=True); time.sleep(60)")

    ended = host.end()

    assert (ended.signal, ended.stdout, ended.error[:8]) == (9, b"up\n", "dead_man")
    assert host.run("print(1)").stdout == b"1\n"


@pytest.mark.slow
def test_words_keep_the_dead_man_away(spawn: Spawn) -> None:
    host = spawn("r2", "--dead-man", "0.5")
    host.expect(Kind.READY)
    host.start("import time\nfor _ in range(12): time.sleep(0.1); print('.', end='', flush=True)")
    ended: list[str] = []
    while not ended:
        kind, payload = host.next()
        if kind is Kind.STDOUT:
            host.send(Kind.PING)
        elif kind is Kind.EXITED:
            ended.append(json.loads(payload)["error"])

    assert ended == [None]


@pytest.mark.slow
def test_a_frame_that_its_host_never_ended_is_forgotten(spawn: Spawn) -> None:
    host = spawn("r2", "--dead-man", "0.2")
    host.expect(Kind.READY)
    host.send_raw(pack(Kind.EXEC, b"x" * 1000)[:500])
    host.start("print('swallowed by the frame')"[:3])  # a host that comes too early is swallowed
    with pytest.raises(AssertionError):
        host.next(within_s=1.0)

    assert host.run("print(1)").stdout == b"1\n"


@pytest.mark.slow
def test_a_long_silence_ends_the_agent(spawn: Spawn) -> None:
    host = spawn("r2", "--exit-after", "0.3", "--dead-man", "0.1", "--eof", "detach")
    host.expect(Kind.READY)

    assert host.exit_code() == 0


@pytest.mark.parametrize("mode", ["r2", "r1"])
def test_the_end_of_its_input_or_bye_ends_the_agent_and_all_jobs(mode: str, spawn: Spawn) -> None:
    hosts = [spawn(mode), spawn(mode)]
    for host in hosts:
        host.expect(Kind.READY)
        host.start("import time; time.sleep(60)")
        host.expect(Kind.STARTED)

    hosts[0].hang_up()
    hosts[1].send(Kind.BYE)

    assert [host.exit_code() for host in hosts] == [0, 0]


@pytest.mark.slow
def test_detached_the_job_goes_on_until_the_dead_man_comes(spawn: Spawn) -> None:
    host = spawn("r2", "--eof", "detach", "--dead-man", "0.5", "--exit-after", "10")
    host.expect(Kind.READY)
    host.start("import time; time.sleep(0.1); print('after')\nprint('up', flush=True); time.sleep(60)")
    host.hang_up()

    ended = host.end()

    assert (ended.stdout, ended.error[:8]) == (b"after\nup\n", "dead_man")


def test_resync_ends_what_runs_and_is_found_in_what_is_left(host: Any) -> None:
    host.start(ENDLESS)
    host.expect(Kind.STARTED)
    seen = b""
    while len(seen) < 200 * KIB:
        seen += host.read_raw()
    host._frames.clear()

    host.send_json(Kind.RESYNC, token="f00")
    seen = seen[77_777:]  # a host that came late, inside a frame
    while (at := find_ready(seen, "f00")) < 0:
        seen += host.read_raw()
    host._decoder = Decoder()
    host._frames = host._decoder.feed(seen[at:])

    assert host.expect(Kind.READY)["token"] == "f00"
    assert host.run("print(1)").stdout == b"1\n"


def test_resync_in_the_middle_of_code_forgets_it(host: Any) -> None:
    host.start(None, code_bytes=100, code_path="main.py", stdin=None)
    host.send(Kind.CODE, b"x" * 50)
    host.send_json(Kind.RESYNC)

    host.expect(Kind.READY)

    assert host.run("print(1)").stdout == b"1\n"
