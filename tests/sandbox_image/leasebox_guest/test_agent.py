"""One job at a time: its streams, limits, cancel, and what the host may and may not do."""

import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from leasebox_guest.frames import MAX_FRAME_BYTES, STDIN_WINDOW, Kind, pack

MIB = 1 << 20
Spawn = Callable[..., Any]
ENDLESS = "import sys\nwhile 1: sys.stdout.write('x' * 65536)"
TWO_FLOODS = f"""
import sys, threading
threading.Thread(target=lambda: [sys.stderr.write('e' * 999) for _ in iter(int, 1)]).start()
{ENDLESS}
"""
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_ready_says_who_is_there(spawn: Spawn) -> None:
    ready = spawn("r2", "--preload", "json,math").expect(Kind.READY)

    assert (ready["version"], ready["python"], ready["uid"]) == (1, "3.11.2", 190_001)
    assert (ready["interpreter"], ready["preloaded"]) == ("none", ["json", "math"])
    assert ready["start_ms"] > 0


def test_a_job_has_no_right_that_it_does_not_need(host: Any) -> None:
    source = """
import os
status = dict(line.split(":\\t") for line in open("/proc/self/status") if ":\\t" in line)
print(*(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")), status["NoNewPrivs"].strip())
print(os.getgroups(), open("/proc/self/oom_score_adj").read().strip(), os.getuid() != 0)
for name in ("mem", "environ", "maps", "fd/0"):
    try: open("/proc/1/" + name, "rb").read(1); print("open")
    except OSError: print("closed")
"""
    ended = host.run(source)

    assert ended.stdout.decode().split() == [
        "0",
        "0",
        "0",
        "0",
        "1",
        "[]",
        "1000",
        "True",
        "closed",
        "closed",
        "closed",
        "closed",
    ]


def test_exited_tells_all(host: Any) -> None:
    ended = host.run("import sys; print('out'); print('error', file=sys.stderr); sum(range(3_000_000)); sys.exit(3)")

    assert (ended.code, ended.signal, ended.limit, ended.cancelled, ended.error) == (3, None, None, False, None)
    assert (ended.stdout_bytes, ended.stderr_bytes, ended.clean, ended.interpreter) == (4, 6, True, "none")
    assert ended.cpu_s > 0.001
    assert ended.wall_s > 0.001
    assert ended.maxrss_bytes > MIB
    assert ended.held_s == 0


@pytest.mark.parametrize(
    ("argv", "code"), [(["no-such"], 127), (["/no/such"], 127), (["/etc"], 126), (["./plain"], 126), (["true"], 0)]
)
def test_a_program_that_cannot_start_says_why(argv: list[str], code: int, host: Any) -> None:
    host.run("open('plain', 'w').write('text')")

    ended = host.run(kind="command", argv=argv)

    host.run(kind="command", argv=["rm", "plain"])
    assert ended.code == code
    assert (ended.error is None) is (code == 0)


def test_a_command_gets_default_signals_and_its_own_environment(host: Any) -> None:
    ended = host.run(kind="command", argv=["sh", "-c", "env | sort; grep -E 'SigIgn|SigBlk' /proc/self/status; pwd"])

    *environment, _, blocked, _, ignored, cwd = ended.stdout.decode().split()
    assert environment == ["HOME=/workspace", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "PWD=/workspace"]
    assert int(blocked, 16) == 0
    # A process made by glibc's posix_spawn ignores the library's own signals 32 and 33, which no program may set.
    assert int(ignored, 16) & ~(0b11 << 31) == 0
    assert cwd == "/workspace"


def test_what_the_worker_ignores_its_jobs_do_not(spawn: Any) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGQUIT)}
    try:
        host = spawn("r2")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    host.expect(Kind.READY)

    command = host.run(kind="command", argv=["sh", "-c", "grep SigIgn /proc/self/status"])
    program = host.run("import signal\nprint([n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN])")

    assert int(command.stdout.split()[1], 16) & ~(0b11 << 31) == 0
    assert program.stdout.decode() == f"[{signal.SIGPIPE:d}, {signal.SIGXFSZ:d}]\n"


def test_code_that_would_overwrite_a_file_runs_under_a_hidden_name(host: Any) -> None:
    host.run(kind="command", argv=["sh", "-c", "echo mine > main.py"])

    ended = host.run("print(6 * 7)")

    assert (ended.stdout, ended.forked) == (b"42\n", False)
    assert host.run(kind="get", argv=["main.py"]).stdout == b"mine\n"
    assert host.run(kind="command", argv=["sh", "-c", "ls -A | grep -v __pycache__; rm main.py"]).stdout == b"main.py\n"


def test_code_for_other_languages_is_written_and_removed(host: Any) -> None:
    ended = host.run("echo $1 from $0; pwd", kind="command", argv=["sh", "src/run.sh", "hi"], code_path="src/run.sh")

    assert ended.stdout == b"hi from src/run.sh\n/workspace\n"
    assert host.run(kind="command", argv=["find", ".", "-type", "f", "-name", "*.sh"]).stdout == b""


def test_code_that_the_job_has_replaced_by_a_folder_does_not_matter(host: Any) -> None:
    ended = host.run("import os; os.remove('main.py'); os.mkdir('main.py')")

    assert (ended.code, ended.clean) == (0, True)
    assert host.run(kind="command", argv=["rmdir", "main.py"]).code == 0


def test_a_program_in_another_folder_finds_its_code(host: Any) -> None:
    host.run(kind="command", argv=["mkdir", "sub"])

    ended = host.run("import os, sys; print(os.getcwd(), __file__)", cwd="/workspace/sub")

    assert ended.stdout == b"/workspace/sub /workspace/main.py\n"
    host.run(kind="command", argv=["rmdir", "sub"])


def test_code_comes_in_many_frames(host: Any) -> None:
    assert host.run("#" * (2 * MIB) + "\nprint('end')").stdout == b"end\n"


@pytest.mark.slow
def test_50_mb_of_output_arrive_whole(host: Any) -> None:
    ended = host.run("import os\nfor n in range(800): assert os.write(1, bytes([n % 256]) * 65536) == 65536")

    assert (ended.code, ended.limit, ended.stdout_bytes) == (0, None, 800 * 65536)
    assert ended.stdout == b"".join(bytes([n % 256]) * 65536 for n in range(800))


@pytest.mark.parametrize(("size", "limit"), [(MIB, None), (MIB + 1, "output")])
def test_the_output_limit_counts_both_streams(size: int, limit: str | None, host: Any) -> None:
    ended = host.run(
        f"import os; os.write(2, b'e' * 1000)\nimport sys; sys.stdout.write('x' * {size - 1000})", stream_bytes=MIB
    )

    assert ended.limit == limit
    assert len(ended.stdout) + len(ended.stderr) == min(size, MIB) == ended.stdout_bytes + ended.stderr_bytes


def test_an_endless_flood_ends_at_the_output_limit(host: Any) -> None:
    ended = host.run(ENDLESS, stream_bytes=MIB)

    assert (len(ended.stdout), ended.limit, ended.signal) == (MIB, "output", 9)


LIMITS = [
    ("wall", "print('part', flush=True); import time; time.sleep(60)", {"wall_s": 0.3}),
    ("wall", "print('part', flush=True)\nwhile 1: pass", {"wall_s": 0.3}),
    ("silence", "print('part', flush=True); import time; time.sleep(60)", {"silence_s": 0.2}),
    ("cpu", "print('part', flush=True)\nwhile 1: pass", {"cpu_s": 0.2}),
    ("cpu", "print('part', flush=True)\nimport os\nos.fork(); os.fork()\nwhile 1: pass", {"cpu_s": 0.2}),
]


@pytest.mark.parametrize(("limit", "source", "limits"), LIMITS)
@pytest.mark.slow
def test_a_clock_that_runs_out_ends_the_job_and_keeps_its_output(
    limit: str, source: str, limits: dict[str, float], host: Any
) -> None:
    ended = host.run(source, **limits)

    assert (ended.limit, ended.signal, ended.code, ended.stdout[:5]) == (limit, 9, None, b"part\n")
    assert ended.clean


@pytest.mark.slow
def test_a_job_within_its_clocks_is_left_alone(host: Any) -> None:
    ended = host.run("import time\nfor _ in range(4): time.sleep(0.1); print(1, flush=True)", silence_s=5.0, cpu_s=5.0)

    assert (ended.code, ended.limit) == (0, None)


def test_cancel_lets_a_program_end_by_itself(host: Any) -> None:
    source = "import signal, time\nsignal.signal(15, lambda *a: exit(5))\nprint('up', flush=True); time.sleep(60)"
    ident = host.start(source)
    host.until_output(b"up")

    host.send_json(Kind.CANCEL, id=ident, grace_s=15.0)

    ended = host.end()
    assert (ended.code, ended.cancelled) == (5, True)


def test_cancel_kills_what_does_not_listen(host: Any) -> None:
    ident = host.start(STUBBORN)
    host.until_output(b"up")

    host.send_json(Kind.CANCEL, id=ident, grace_s=0.1)

    ended = host.end()
    assert (ended.code, ended.signal, ended.cancelled, ended.limit) == (None, 9, True, None)


def test_cancel_is_not_behind_output_that_nobody_reads(host: Any) -> None:
    ident = host.start(TWO_FLOODS)
    host.expect(Kind.STARTED)

    host.send_json(Kind.CANCEL, id=ident, grace_s=0.0)

    ended = host.end()
    assert ended.cancelled
    assert len(ended.stdout) < 4 * MIB


def test_cancel_of_a_job_that_has_ended_is_ignored(host: Any) -> None:
    ident = host.run("pass").id
    host.send_json(Kind.CANCEL, id=ident, grace_s=0.0)

    assert host.run("print(1)").stdout == b"1\n"


def test_cancel_before_the_code_is_complete_never_starts_the_job(host: Any) -> None:
    ident = host.start(None, code_bytes=10, code_path="main.py", stdin=None)
    host.send_json(Kind.CANCEL, id=ident, grace_s=0.0)
    host.send(Kind.CODE, b"print('no')"[:10])

    ended = host.end()

    assert (ended.code, ended.signal, ended.cancelled, ended.stdout) == (None, None, True, b"")


def test_input_passes_by_credits_and_memory_stays_flat(host: Any) -> None:
    host.start("import sys, hashlib; print(len(sys.stdin.buffer.read()))", stdin=None)
    left, window = 8 * MIB, STDIN_WINDOW
    while left:
        part = min(left, window, 60_000)
        host.send(Kind.STDIN, b"i" * part)
        left, window = left - part, window - part
        while window < 60_000 and left:
            window += host.expect(Kind.CREDIT)["n"]
    host.send(Kind.STDIN)

    assert host.end().stdout == b"%d\n" % (8 * MIB)


def test_input_that_nobody_reads_earns_credit_once_the_job_has_closed_it(host: Any) -> None:
    host.start("import os, time; os.close(0); print('up', flush=True); time.sleep(0.2)", stdin=None)
    host.until_output(b"up")
    for _ in range(5):
        host.send(Kind.STDIN, b"i" * STDIN_WINDOW)
        got = 0
        while got < STDIN_WINDOW:
            got += host.expect(Kind.CREDIT)["n"]

    assert host.end().code == 0


def test_the_window_opens_anew_with_each_job(host: Any) -> None:
    for _ in range(3):
        host.start("import time; time.sleep(0.01)", stdin=None)
        host.send(Kind.STDIN, b"i" * STDIN_WINDOW)
        assert host.end().code == 0


@pytest.mark.parametrize(
    "breach",
    [
        pack(Kind.STDIN, b"i" * STDIN_WINDOW) * 3,  # the pipe of a program that does not read takes 64 KiB
        bytes(4),
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        pack(99),
        pack(Kind.CODE, b"x"),
        pack(Kind.READY),
        pack(Kind.CANCEL, b"{"),
    ],
    ids=["window", "empty", "huge", "unknown", "code", "reply", "json"],
)
def test_a_breach_of_the_protocol_ends_the_agent_with_70(breach: bytes, spawn: Spawn) -> None:
    host = spawn("r1")
    host.expect(Kind.READY)
    host.start("import time; time.sleep(60)", stdin=None)
    host.expect(Kind.STARTED)

    with contextlib.suppress(BrokenPipeError):
        host.send_raw(breach)

    with pytest.raises(EOFError, match="Traceback"):
        host.end()
    assert host.exit_code() == 70


def test_a_second_job_is_refused_and_its_code_swallowed(host: Any) -> None:
    first = host.start("input()", stdin=None)
    second = host.start("print('never')" * 9, stdin=None)

    refused = host.expect(Kind.REFUSED)
    host.send(Kind.STDIN, b"go\n")
    ended = host.end()

    assert refused == {"id": second, "reason": "busy"}
    assert (ended.id, ended.code) == (first, 0)


def test_a_job_that_is_none_is_refused(host: Any) -> None:
    assert host.run(cwd="/etc").refused == "invalid: cwd is outside the workspace"
    assert host.run("print(1)").stdout == b"1\n"


def test_ping_is_answered_during_a_flood(host: Any) -> None:
    host.start(ENDLESS, wall_s=10.0)
    host.expect(Kind.STARTED)
    host.send(Kind.PING, b"\0any bytes")
    kind = payload = None
    while kind is not Kind.PONG:
        kind, payload = host.next()
    host.send_json(Kind.CANCEL, id=f"job-{host._count}", grace_s=0.0)

    assert payload == b"\0any bytes"
    assert host.end().cancelled


@pytest.mark.slow
def test_a_host_that_reads_nothing_slows_the_program_and_not_the_clock(host: Any, eventually: Any) -> None:
    host.start("import os\nwhile 1: os.write(1, bytes(65536))", wall_s=0.3)
    host.expect(Kind.STARTED)
    deadline = time.monotonic() + 0.5
    eventually(lambda: time.monotonic() > deadline)  # not a byte is read until the clock has run out

    ended = host.end()

    assert ended.limit == "wall"
    assert len(ended.stdout) < MIB


def test_the_pid_of_started_is_the_programs(host: Any) -> None:
    host.start("import os; print(os.getpid())")
    pid = host.expect(Kind.STARTED)["pid"]

    assert host.end().stdout == b"%d\n" % pid
