"""The kept interpreter in real sandboxes: what cells share, how they end, and what attacks on it leave."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox_image.leasebox_guest.conftest import eventually

from leasebox_guest.frames import APART, MAX_APART_BYTES, MAX_BUNDLE_BYTES, Kind

Spawn = Callable[..., Any]
MIB = 1 << 20
ROUNDS = 5
FIND_CHANNEL = """
import gc, struct
repl = next(o for o in gc.get_objects() if type(o).__name__ == "Repl")
def send(kind, payload): os.write(repl._results, struct.pack(">IB", len(payload) + 1, kind) + payload)
"""


@pytest.fixture(params=["r2", "r1"])
def box(request: pytest.FixtureRequest, spawn: Spawn) -> Any:
    """A sandbox of the test's own, without an interpreter yet."""
    host = spawn(request.param)
    host.expect(Kind.READY)
    return host


@pytest.fixture(scope="module")
def kept(spawn: Spawn) -> Any:
    """A sandbox with an interpreter that many tests share: they leave `keep` at 41."""
    host = spawn("r2")
    host.expect(Kind.READY)
    host.cell("keep = 41; import os, sys")
    return host


def is_kept(host: Any) -> bool:
    """Whether the variable is still there, in the same interpreter."""
    seen = host.cell("keep")
    return (seen.shown, seen.interpreter, seen.restarted) == ([{"text/plain": "41"}], "kept", None)


def test_a_variable_stays_and_the_first_cell_of_all_says_nothing_of_a_restart(box: Any) -> None:
    first = box.cell("x = 41")
    second = box.cell("x + 1")

    assert (first.code, first.interpreter, first.shown, first.restarted) == (0, "kept", [], None)
    assert (second.code, second.interpreter, second.shown) == (0, "kept", [{"text/plain": "42"}])


def test_a_cell_runs_with_the_rights_of_a_job(box: Any) -> None:
    seen = box.cell(
        'status = dict(l.split(":\\t") for l in open("/proc/self/status") if ":\\t" in l)\n'
        '[int(status[n], 16) for n in ("CapEff", "CapPrm", "CapInh", "CapAmb")] + [status["NoNewPrivs"].strip()], '
        '__import__("os").getgroups(), open("/proc/self/oom_score_adj").read().strip()'
    )

    assert seen.shown == [{"text/plain": "([0, 0, 0, 0, '1'], [], '1000')"}]


def test_a_cell_holds_no_descriptor_but_its_own_channels(kept: Any) -> None:
    seen = kept.cell(
        "fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "[(n, os.readlink(f'/proc/self/fd/{n}').split(':')[0]) for n in fds if os.path.exists(f'/proc/self/fd/{n}')]"
    )

    kinds = [kind for _, kind in eval(seen.shown[0]["text/plain"])]
    assert kinds == ["pipe", "pipe", "pipe", "socket", "pipe"]


def test_what_is_shown_never_comes_before_what_was_printed_earlier(kept: Any) -> None:
    kept.start("for n in range(300): print(n); display(n)", **CELL)
    printed, shown = b"", []
    while len(shown) < 300:
        kind, payload = kept.next()
        if kind is Kind.STDOUT:
            printed += payload
        elif kind is Kind.DISPLAY:
            number = json.loads(payload[1:])["text/plain"]
            assert f"{number}\n".encode() in printed
            shown.append(int(number))
    kept.end()

    assert shown == list(range(300))


CELL = {"kind": "cell", "argv": [], "code_path": None}


def test_input_asks_and_reads_what_was_given_to_this_cell_alone(kept: Any) -> None:
    first = kept.cell("a = input('name? '); b = input(); (a, b)", stdin=b"Ada\nBob\nnot read\n")
    second = kept.cell("input()", stdin=b"second\n")
    third = kept.cell("input()")

    assert (first.prompts, first.shown) == (["name? ", ""], [{"text/plain": "('Ada', 'Bob')"}])
    assert second.shown == [{"text/plain": "'second'"}]
    assert (third.code, third.failure["name"]) == (1, "EOFError")


def test_input_that_comes_later_reaches_a_waiting_cell(kept: Any) -> None:
    kept.start("input('go? ')", stdin=None, **CELL)
    kept.expect(Kind.INPUT)
    kept.send(Kind.STDIN, b"yes\n")

    assert kept.end().shown == [{"text/plain": "'yes'"}]


def test_environment_and_folder_are_set_by_a_job_and_else_stay(kept: Any) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/workspace", "LANG": "C.UTF-8"}
    kept.cell("os.makedirs('sub', exist_ok=True); os.environ['MINE'] = 'm'; os.environ['HOME'] = '/tmp'")
    given = kept.cell("os.environ['A'], os.getcwd()", env={**env, "A": "1"}, cwd="/workspace/sub")
    after = kept.cell("os.environ['A'], os.environ['MINE'], os.environ['HOME'], os.getcwd()")
    kept.cell("os.chdir('/workspace')")

    assert given.shown == [{"text/plain": "('1', '/workspace/sub')"}]
    assert after.shown == [{"text/plain": "('1', 'm', '/tmp', '/workspace/sub')"}]


@pytest.mark.parametrize(
    ("source", "code", "name"),
    [
        ("1 / 0", 1, "ZeroDivisionError"),
        ("sys.exit()", 0, None),
        ("sys.exit(3)", 3, "SystemExit"),
        ("sys.exit('words')", 1, "SystemExit"),
        ("exit()", 0, None),
        ("raise BaseException", 1, "BaseException"),
        ("def", 1, "SyntaxError"),
        ("a\0b", 1, "ValueError" if os.sys.version_info < (3, 12) else "SyntaxError"),  # type: ignore[attr-defined]
        ("sys.stdout.close(); sys.stderr.close(); sys.stdin.close()", 0, None),
        ("os.close(0); os.close(1); os.close(2)", 0, None),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", 0, None),
        ("[None for _ in iter(lambda: display(1) or len(str(1)), 1)]; 2;", 0, None),
        ("import builtins, json; json.dumps", 0, None),
        ("def f(): f()\nf()", 1, "RecursionError"),
        ("class E(Exception):\n def __str__(s): raise OSError\nraise E", 1, "E"),
        ("class R:\n def __repr__(s): 1/0\nR()", 1, "ZeroDivisionError"),
        ("x = '\udc80'.encode(errors='surrogateescape'); 1", 1, "UnicodeEncodeError"),
    ],
)
def test_however_a_cell_ends_the_next_one_finds_its_variables(
    kept: Any, source: str, code: int, name: str | None
) -> None:
    ended = kept.cell(source.encode(errors="surrogateescape"))

    assert (ended.code, ended.signal, ended.interpreter) == (code, None, "kept")
    assert (ended.failure or {}).get("name") == name
    assert kept.cell("print('out')").stdout == b"out\n"
    assert is_kept(kept)


def test_a_traceback_shows_the_cells_own_lines_and_nothing_of_ours(kept: Any) -> None:
    kept.cell("def f(n):\n    return 1 // n")
    ended = kept.cell("y = 1\ntry:\n    f(0)\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e")

    text = ended.failure["traceback"]
    assert "    return 1 // n\n" in text
    assert "    f(0)\n" in text
    assert "direct cause" in text
    assert "leasebox" not in text
    assert ended.failure["message"] == "'k'"


def test_a_folder_that_is_not_there_fails_the_cell_alone(box: Any) -> None:
    first = box.cell("1", cwd="/workspace/missing")
    box.cell("keep = 41")
    second = box.cell("1", cwd="/workspace/missing")

    assert [ended.failure["name"] for ended in (first, second)] == ["FileNotFoundError"] * 2
    assert is_kept(box)


def test_a_cancel_that_comes_before_the_cell_has_begun_is_not_lost(box: Any) -> None:
    for _ in range(ROUNDS):  # the first time while the interpreter starts
        ident = box.start("import time; time.sleep(60)", **CELL)
        box.send_json(Kind.CANCEL, id=ident, grace_s=15.0)
        ended = box.end()

        assert (ended.cancelled, ended.interpreter) == (True, "kept")


def test_the_state_survives_a_wall_limit(box: Any) -> None:
    box.cell("keep = 41")
    for source in (
        "while 1: pass",
        "import time; time.sleep(60)",
        "input()",
        "import asyncio; await asyncio.sleep(60)",
    ):
        ended = box.cell(source, wall_s=0.3, stdin=None, cancel_grace_s=10.0)

        assert (ended.limit, ended.interpreter, ended.failure["name"]) == ("wall", "kept", "KeyboardInterrupt")
        assert is_kept(box)


@pytest.mark.parametrize(
    ("source", "fields", "limit"),
    [
        ("while 1: print('x' * 999)", {"stream_bytes": MIB}, "output"),
        ("while 1: pass", {"cpu_s": 0.2}, "cpu"),
        ("import time; time.sleep(60)", {"silence_s": 0.2}, "silence"),
    ],
)
def test_the_state_survives_the_other_limits(kept: Any, source: str, fields: dict[str, Any], limit: str) -> None:
    ended = kept.cell(source, cancel_grace_s=10.0, **fields)

    assert (ended.limit, ended.interpreter) == (limit, "kept")
    assert len(ended.stdout) <= MIB
    assert is_kept(kept)


def test_the_cpu_of_earlier_cells_is_not_counted_again(kept: Any) -> None:
    kept.cell("import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass")

    ended = kept.cell("1", cpu_s=0.2)

    assert ended.limit is None
    assert ended.cpu_s < 0.2


def test_the_grace_of_a_cancel_is_its_own_and_not_that_of_limits(kept: Any) -> None:
    source = "import time\nprint('up')\ntry: time.sleep(60)\nexcept KeyboardInterrupt: time.sleep(0.3)"
    ident = kept.start(source, cancel_grace_s=0.0, **CELL)
    kept.until_output(b"up")
    kept.send_json(Kind.CANCEL, id=ident, grace_s=15.0)
    ended = kept.end()

    assert (ended.cancelled, ended.code, ended.interpreter) == (True, 0, "kept")


def test_a_cancelled_cell_keeps_the_state(kept: Any) -> None:
    ident = kept.start("print('up'); import time; time.sleep(60)", **CELL)
    kept.until_output(b"up")
    kept.send_json(Kind.CANCEL, id=ident, grace_s=10.0)
    ended = kept.end()

    assert (ended.cancelled, ended.interpreter) == (True, "kept")
    assert is_kept(kept)


@pytest.mark.parametrize(
    ("source", "fields", "reason"),
    [
        ("import os; os._exit(3)", {}, "exited"),
        ("import os; os.kill(os.getpid(), 11)", {}, "killed"),
        ("import ctypes; ctypes.string_at(0)", {}, "killed"),
        ("import os; os.kill(os.getpid(), 9)", {}, "killed"),
        (
            "import signal; signal.signal(2, signal.SIG_IGN)\nwhile 1: pass",
            {"wall_s": 0.3, "cancel_grace_s": 0.2},
            "wall",
        ),
        (
            "def f():\n  while 1: [].sort()\nwhile 1:\n  try: f()\n  except BaseException: pass",
            {"wall_s": 0.3, "cancel_grace_s": 0.2},
            "wall",
        ),
    ],
    ids=["exit", "signal", "segfault", "kill_all", "ignores", "catches"],
)
def test_a_lost_interpreter_is_said_by_its_cell_and_by_the_next(
    box: Any, source: str, fields: dict[str, Any], reason: str
) -> None:
    box.cell("keep = 41")

    ended = box.cell(source, **fields)
    after = box.cell("'keep' in globals()")
    later = box.cell("1")

    assert (ended.interpreter, ended.clean) == ("lost", True)
    assert (after.shown, after.interpreter, after.restarted) == ([{"text/plain": "False"}], "kept", reason)
    assert later.restarted is None


def test_a_restart_that_was_asked_for_is_no_loss(box: Any) -> None:
    box.cell("keep = 41")

    ended = box.cell("%restart")
    after = box.cell("'keep' in globals()")

    assert (ended.code, ended.signal, ended.interpreter) == (0, None, "none")
    assert (after.shown, after.restarted) == ([{"text/plain": "False"}], None)


def test_other_jobs_of_the_session_leave_the_interpreter_alone(box: Any) -> None:
    nothing = box.run("print(1)")
    box.cell("keep = 41")
    program = box.run("print(1)")
    command = box.run(kind="command", argv=["sh", "-c", "setsid sleep 100 & echo $!"])
    file = box.run(kind="get", argv=["nothing"])
    cancelled = box.start(kind="command", argv=["sh", "-c", "echo up; sleep 100"])
    box.until_output(b"up")
    box.send_json(Kind.CANCEL, id=cancelled, grace_s=10.0)

    assert box.end().interpreter == "kept"
    assert [job.interpreter for job in (nothing, program, command, file)] == ["none", "kept", "kept", "kept"]
    assert is_kept(box)
    assert box.cell(f"__import__('os').path.exists('/proc/{int(command.stdout)}')").shown == [{"text/plain": "False"}]


def test_a_command_that_kills_the_interpreter_says_so_and_so_does_the_next_cell(box: Any) -> None:
    box.cell("keep = 41")

    command = box.run(kind="command", argv=["sh", "-c", "kill -9 -1"])
    after = box.cell("1")

    assert (command.interpreter, after.restarted) == ("lost", "killed")


def test_temporary_files_are_state_as_long_as_the_interpreter_lives(box: Any) -> None:
    box.cell("open('/tmp/f', 'w').close(); import os")
    during = box.run(kind="command", argv=["ls", "/tmp"])
    box.cell("os._exit(0)")
    after = box.run(kind="command", argv=["ls", "/tmp"])

    assert (during.stdout, after.stdout) == (b"f\n", b"")


SPINNERS = """
import signal
for _ in range(10):
    if os.fork() == 0:
        os.setsid(); signal.signal(15, signal.SIG_IGN)
        while 1: pass
"""
BOMB = """
if os.fork() == 0:
    while 1:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: pass
"""
STORM = """
for _ in range(3):
    if os.fork() == 0:
        while 1:
            try: os.kill(-1, 18)
            except OSError: pass
"""
SELF_STORM = """
import threading
def go():
    while not done: os.kill(os.getpid(), 18)
done = False
for _ in range(3): threading.Thread(target=go, daemon=True).start()
"""
SPAWN_STORM = """
import subprocess
subprocess.Popen(["sh", "-c", "while :; do (kill -CONT -1) & done"], stderr=subprocess.DEVNULL)
"""


@pytest.mark.parametrize(
    "attack", [SPINNERS, BOMB, STORM, SELF_STORM, SPAWN_STORM], ids=["spin", "bomb", "cont", "self", "spawn"]
)
def test_what_a_cell_leaves_running_is_dead_or_frozen_and_the_state_is_whole(spawn: Spawn, attack: str) -> None:
    host = spawn("r2")
    host.expect(Kind.READY)
    host.cell("keep = 41; import os, resource; resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))")
    for _ in range(ROUNDS):
        ended = host.cell(attack)

        assert (ended.interpreter, ended.clean) == ("kept", True)
        assert living(host) == {"T"}
        assert is_kept(host)
        host.cell("done = True")
    host.close()


def living(host: Any) -> set[str]:
    """The states of what lives in the sandbox beside its PID 1: the interpreter alone, zombies left out."""
    states = set()
    for pid in _descendants(agent_of(host)):
        try:
            states.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return states - {"Z", "X"}


def agent_of(host: Any) -> int:
    """The pid of a sandbox's PID 1, as seen from outside."""
    for pid in [host.pid, *_descendants(host.pid)]:
        status = Path(f"/proc/{pid}/status").read_text()
        if next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1] == "1":
            return int(pid)
    raise AssertionError("no sandbox")


def _descendants(pid: int) -> list[int]:
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _descendants(child)]


def cpu_ticks(host: Any, pings: int = 0) -> list[str]:
    """The CPU that the interpreter has used, after some rounds of the agent."""
    for _ in range(pings):
        host.send(Kind.PING)
        host.expect(Kind.PONG)
    (pid,) = _descendants(agent_of(host))
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]


def test_between_cells_no_cpu_is_used_although_threads_spin(spawn: Spawn) -> None:
    host = spawn("r2")
    host.expect(Kind.READY)
    host.cell(
        "import threading\ndef go():\n  while 1: pass\n"
        "for _ in range(3): threading.Thread(target=go, daemon=True).start()"
    )

    before = cpu_ticks(host)
    after = cpu_ticks(host, pings=3000)

    assert after == before
    assert host.cell("threading.active_count()").shown == [{"text/plain": "4"}]
    host.close()


def test_a_child_that_the_cell_forked_is_no_second_interpreter(kept: Any) -> None:
    ended = kept.cell("pid = os.fork()\ndisplay('once')\nif pid: os.waitpid(pid, 0)\n'last' if pid else 'never'")

    assert ended.shown == [{"text/plain": "'once'"}, {"text/plain": "'last'"}]
    assert is_kept(kept)


def test_printed_text_that_looks_like_an_end_is_text(kept: Any) -> None:
    forged = b"\0\0\0\2J{}" + json.dumps({"cell": "x", "status": 0}).encode()
    ended = kept.cell(f"sys.stdout.buffer.write({forged!r}); 1")

    assert (ended.stdout, ended.shown, ended.code) == (forged, [{"text/plain": "1"}], 0)


@pytest.mark.parametrize(
    "forgery",
    [
        'send(74, b\'{"cell": "0", "status": 0, "error": null, "restart": false}\')',
        "send(74, b'{')",
        "send(67, b'stdout')",
        "send(200, b'?')",
        "send(66, b'other')",
        "send(69, b'\\4{}')",
        "while 1: send(69, b'\\3' + b'x' * 60000)",
        "while 1: send(69, b'\\2')",
        "send(70, b'[1]')",
        "os.write(repl._results, b'\\xff\\xff\\xff\\xff\\1')",
        "while 1: send(69, b'\\1' + b'x' * 60000)",
        "while 1: send(69, b'\\0{}')",
    ],
)
def test_a_broken_word_on_the_result_channel_costs_the_state_and_no_more(box: Any, forgery: str) -> None:
    box.cell("keep = 41; import os")

    ended = box.cell(f"{FIND_CHANNEL}\n{forgery}\nwhile 1: pass")
    after = box.cell("1")

    assert (ended.interpreter, ended.clean, ended.signal) == ("lost", True, 9)
    assert ended.error.startswith("channel: ")
    assert (after.restarted, after.code) == ("channel", 0)


def test_a_forged_end_of_a_cell_that_runs_on_costs_the_state_when_the_next_one_is_not_read(box: Any) -> None:
    box.cell("import os")
    end = "next(f for f in gc.get_objects() if type(f) is dict and f.get('cell') and 'env' in f)['cell']"
    forged = f'send(74, b\'{{"cell": "\' + {end}.encode() + b\'", "status": 0, "error": null, "restart": false}}\')'

    ended = box.cell(f"{FIND_CHANNEL}\n{forged}\nwhile 1: pass")
    after = box.cell("2")

    assert (ended.code, ended.interpreter) == (0, "kept")
    assert (after.shown, after.restarted) == ([{"text/plain": "2"}], "unresponsive")


def test_a_closed_result_channel_ends_with_the_interpreter(box: Any) -> None:
    box.cell("import os")

    ended = box.cell(f"{FIND_CHANNEL}\nos.close(repl._results)")

    assert (ended.code, ended.interpreter) == (70, "lost")
    assert box.cell("1").restarted == "exited"


def test_a_bundle_larger_than_a_frame_comes_whole_and_what_is_beyond_the_bounds_comes_apart(kept: Any) -> None:
    kept.cell(
        "class H:\n def __init__(s, n): s.n = n\n def _repr_html_(s): return 'h' * s.n\n def __repr__(s): return 'H'"
    )

    whole = kept.cell(f"H({MAX_BUNDLE_BYTES - 1000})")
    beyond = kept.cell(f"H({MAX_BUNDLE_BYTES})")
    many = kept.cell(f"for _ in range(6): display(H({MAX_BUNDLE_BYTES - 1000}))")

    assert len(whole.shown[0]["text/html"]) == MAX_BUNDLE_BYTES - 1000
    assert (whole.apart, beyond.apart) == ([], [b"h" * MAX_BUNDLE_BYTES])
    assert beyond.shown == [{"text/plain": "H", APART: ["text/html"]}]
    assert ["text/html" in bundle for bundle in many.shown] == [True] * 4 + [False] * 2
    assert [len(content) for content in many.apart] == [MAX_BUNDLE_BYTES - 1000] * 2
    assert is_kept(kept)


@pytest.mark.long
def test_what_goes_apart_has_bounds_beyond_which_it_is_named_in_the_text(kept: Any) -> None:
    kept.cell(
        "class H:\n def __init__(s, n): s.n = n\n def _repr_html_(s): return 'h' * s.n\n def __repr__(s): return 'H'"
    )

    beyond = kept.cell(f"H({MAX_APART_BYTES + 1})")
    many = kept.cell(f"for _ in range(3): display(H({MAX_APART_BYTES}))")

    assert beyond.shown == [{"text/plain": f"H\n[text/html: {MAX_APART_BYTES + 1} bytes left out]"}]
    assert beyond.apart == []
    assert [APART in bundle for bundle in many.shown] == [True, True, False]
    assert [len(content) for content in many.apart] == [MAX_APART_BYTES] * 2
    assert is_kept(kept)


def test_a_cell_longer_than_a_sockets_buffer_arrives_whole(kept: Any) -> None:
    source = "len('''" + "x" * 1_000_000 + "''')"

    assert kept.cell(source).shown == [{"text/plain": "1000000"}]


def test_a_host_that_reads_slowly_loses_nothing_of_a_display(kept: Any) -> None:
    kept.start("for n in range(200): display({'text/plain': 'x' * 20000 + str(n)}, raw=True)", **CELL)
    kept.expect(Kind.STARTED)
    shown = kept.end().shown

    assert [bundle["text/plain"].strip("x") for bundle in shown][-3:] == ["197", "198", "199"]


def test_many_zombies_of_earlier_cells_are_reaped(kept: Any) -> None:
    for _ in range(2):
        kept.cell("for _ in range(20):\n  if os.fork() == 0: os._exit(0)")

    zombies = kept.cell("[p for p in os.listdir('/proc') if p.isdigit()]").shown[0]["text/plain"]
    assert len(eval(zombies)) < 10


def test_hold_and_resume_leave_an_idle_interpreter_frozen(spawn: Spawn) -> None:
    host = spawn("r2")
    host.expect(Kind.READY)
    host.cell("keep = 41")
    host.send(Kind.HOLD)
    host.expect(Kind.HELD)
    host.send(Kind.RESUME)
    host.send(Kind.PING)
    host.expect(Kind.PONG)

    assert living(host) == {"T"}
    assert is_kept(host)
    host.close()


def test_a_held_cell_goes_on_where_it_was(kept: Any) -> None:
    kept.start("print('up'); import time\nfor _ in range(10): time.sleep(0.01)\n'done'", **CELL)
    kept.until_output(b"up")
    kept.send(Kind.HOLD)
    kept.expect(Kind.HELD)
    kept.send(Kind.RESUME)

    assert kept.end().shown == [{"text/plain": "'done'"}]


def test_a_host_that_attaches_again_finds_an_idle_interpreter_and_not_a_busy_one(spawn: Spawn) -> None:
    host = spawn("r2")
    host.expect(Kind.READY)
    host.cell("keep = 41")
    host.send_json(Kind.RESYNC, token="t")
    idle = host.expect(Kind.READY)
    was_kept = is_kept(host)
    host.start("while 1: pass", **CELL)
    host.expect(Kind.STARTED)
    host.send_json(Kind.RESYNC, token="u")
    busy = host.expect(Kind.READY)

    assert (idle["interpreter"], was_kept, busy["interpreter"]) == ("kept", True, "none")
    assert host.cell("1").restarted == "stopped"
    host.close()


def test_the_kernel_may_take_a_frozen_interpreter_and_the_next_cell_says_so(spawn: Spawn) -> None:
    host = spawn("r2")
    host.expect(Kind.READY)
    host.cell("keep = 41")
    (pid,) = _descendants(agent_of(host))
    os.kill(pid, 9)
    eventually(lambda: not _descendants(agent_of(host)))

    assert host.cell("1").restarted == "killed"
    host.close()


def test_multiprocessing_and_subprocesses_work_in_a_cell(kept: Any) -> None:
    source = (
        "from concurrent.futures import ThreadPoolExecutor\nimport multiprocessing, subprocess\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: squares = pool.map(abs, [-1, -2])\n"
        "done = ThreadPoolExecutor().submit(lambda: 5).result()\n"
        "squares, done, subprocess.run(['echo', 'hi'], capture_output=True).stdout"
    )

    assert kept.cell(source).shown == [{"text/plain": "([1, 2], 5, b'hi\\n')"}]


def test_an_import_of_site_in_a_thread_does_not_block(kept: Any) -> None:
    source = (
        "import threading\nt = threading.Thread(target=__import__, args=('site',)); t.start(); t.join(10); t.is_alive()"
    )

    assert kept.cell(source).shown == [{"text/plain": "False"}]


def test_an_agent_without_a_pid_namespace_keeps_it_too(spawn: Spawn, request: pytest.FixtureRequest) -> None:
    workspace = tempfile.mkdtemp(dir="/tmp")
    request.addfinalizer(lambda: shutil.rmtree(workspace))
    shutil.chown(workspace, 190_001)
    host = spawn("plain", "--workspace", workspace)
    host.expect(Kind.READY)
    host.cell("import os; keep = 41", cwd=workspace)

    ended = host.cell("if os.fork() == 0:\n  os.setsid()\n  while 1: pass", cwd=workspace)
    command = host.run(kind="command", argv=["true"], cwd=workspace)

    assert (ended.interpreter, command.interpreter) == ("kept", "kept")
    assert host.cell("keep", cwd=workspace).shown == [{"text/plain": "41"}]
    host.close()
