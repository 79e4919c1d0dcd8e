"""The kept interpreter of a session, as an application sees it, on a live system with each driver."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import Live

from leasebox.client import Client
from leasebox.contract.result import Outcome, Result

WAIT_S = 60.0
Cell = Callable[..., Result]


@pytest.fixture
def cell(client: Client) -> Cell:
    """Run a cell in a session of this test's own."""
    name = f"cells-{uuid.uuid4().hex[:8]}"

    def run(code: str | None = None, **spec: Any) -> Result:
        return client.run(code, **{"session": name, "stateful": code is not None, "wait_s": WAIT_S, **spec})

    return run


def test_a_variable_stays_for_the_next_cell(cell: Cell) -> None:
    first = cell("x = 41")
    second = cell("x + 1")

    assert (first.outcome, first.interpreter, first.results) == (Outcome.OK, "kept", [])
    assert (second.outcome, second.exit_code, second.interpreter) == (Outcome.OK, 0, "kept")
    assert second.results == [{"text/plain": "42"}]


def restarts(client: Client, job: str) -> list[str]:
    """The reasons of the restarts that a job tells of."""
    return [event.reason for event in client.job(job).events(timeout_s=WAIT_S) if event.type == "session_restarted"]


def test_what_a_cell_shows_is_an_event_and_a_result_however_large(client: Client, cell: Cell) -> None:
    cell("from IPython.display import HTML, display")
    handle = client.submit(
        "print('first')\ndisplay(HTML('<b>é</b>'), {'a': 1})\n"
        "class P:\n def _repr_png_(s): return bytes(2_000_000)\n def __repr__(s): return 'P'\n"
        "await __import__('asyncio').sleep(0)\nP()",
        session=cell("1").session,
        stateful=True,
    )
    shown = [event.bundle for event in handle.events(timeout_s=WAIT_S) if event.type == "display"]
    result = handle.result()

    assert result.outcome is Outcome.OK
    assert shown == result.results
    assert [sorted(bundle) for bundle in shown] == [
        ["text/html", "text/plain"],
        ["text/plain"],
        ["image/png", "text/plain"],
    ]
    assert shown[0]["text/html"] == "<b>é</b>"
    assert len(shown[2]["image/png"]) > 2_600_000


def test_an_error_has_its_name_and_the_lines_of_the_cell(cell: Cell) -> None:
    result = cell("def f(n):\n    return 1 // n\nf(0)")

    assert (result.outcome, result.exit_code, result.interpreter) == (Outcome.ERROR, 1, "kept")
    assert result.error is not None
    assert result.error.name == "ZeroDivisionError"
    assert "    return 1 // n\n" in (result.error.traceback or "")
    assert result.message.startswith("ZeroDivisionError: ")
    assert result.stderr == ""


def test_input_reads_what_stdin_gave_and_asks_by_an_event(client: Client, cell: Cell) -> None:
    session = cell("pass").session
    handle = client.submit("name = input('name? '); name", session=session, stateful=True, stdin="Ada\n")

    prompts = [event.prompt for event in handle.events(timeout_s=WAIT_S) if event.type == "input"]
    assert (prompts, handle.result().results) == (["name? "], [{"text/plain": "'Ada'"}])


def test_a_time_limit_interrupts_a_cell_and_keeps_its_variables(cell: Cell) -> None:
    cell("keep = 41")
    late = cell("while True: pass", limits={"timeout_s": 0.5})
    after = cell("keep")

    assert (late.outcome, late.limit, late.interpreter) == (Outcome.TIMEOUT, "wall", "kept")
    assert late.error is not None
    assert late.error.name == "KeyboardInterrupt"
    assert after.results == [{"text/plain": "41"}]


def clocks(name: str) -> dict[int, list[str]]:
    """The CPU clocks of the processes of this machine that have a name and have not ended."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "comm").read_text().strip() == name:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[int(folder.name)] = fields[11:13]
    return found


def test_a_session_left_alone_uses_no_cpu_although_a_cell_left_threads_and_children(client: Client, cell: Cell) -> None:
    name = f"lb{uuid.uuid4().hex[:10]}"
    cell(
        f"import ctypes, os, threading\nctypes.CDLL(None).prctl(15, b'{name}')\n"
        "def go():\n    while 1: pass\n"
        "for _ in range(3): threading.Thread(target=go, daemon=True).start()\n"
        "for _ in range(2): os.fork() or go()"
    )
    before = clocks(name)
    for _ in range(5):  # time passes, and the worker's pings with it
        client.run("import time; time.sleep(0.5)", wait_s=WAIT_S, check=True)

    assert len(before) == 1  # the interpreter; what it forked is gone
    assert clocks(name) == before
    assert cell("threading.active_count()").results == [{"text/plain": "4"}]


def test_a_cancelled_cell_keeps_its_variables(client: Client, cell: Cell) -> None:
    session = cell("keep = 41").session
    handle = client.submit("print('on'); import time; time.sleep(60)", session=session, stateful=True)
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")
    handle.cancel()

    assert (handle.result(timeout_s=WAIT_S).outcome, handle.result().interpreter) == (Outcome.CANCELLED, "kept")
    assert cell("keep").results == [{"text/plain": "41"}]


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("import os; os._exit(3)", Outcome.ERROR, "exited"),
        ("import os; os.kill(os.getpid(), 11)", Outcome.KILLED, "killed"),
        ("import signal; signal.signal(2, signal.SIG_IGN)\nwhile True: pass", Outcome.TIMEOUT, "wall"),
        ("keep = bytearray(700 << 20)", Outcome.OOM, "oom"),
    ],
)
def test_a_lost_interpreter_is_said_by_its_cell_and_by_the_next(
    client: Client, cell: Cell, code: str, outcome: Outcome, reason: str
) -> None:
    cell("keep = 41")
    lost = cell(code, limits={"timeout_s": 1} if reason == "wall" else {})
    after = cell("'keep' in globals()")

    assert (lost.outcome, lost.interpreter) == (outcome, "lost")
    assert (after.outcome, after.interpreter, after.results) == (Outcome.OK, "kept", [{"text/plain": "False"}])
    assert restarts(client, after.job) == [f"interpreter_{reason}"]


def test_programs_and_commands_of_the_session_leave_the_interpreter_alone(cell: Cell) -> None:
    before = cell(command=["true"])
    cell("keep = 41; open('f', 'w').write('seen')")
    command = cell(command=["cat", "f"])
    program = cell("print(open('f').read())", stateful=False, files={"g": "x"})

    assert [job.interpreter for job in (before, command, program)] == ["none", "kept", "kept"]
    assert (command.stdout, program.stdout) == ("seen", "seen\n")
    assert cell("keep").results == [{"text/plain": "41"}]


def test_variables_are_listed_and_a_restart_forgets_them(client: Client, cell: Cell) -> None:
    cell("n = 41; words = ['a', 'b']")
    listed = cell("%variables").results[-1]["application/json"]
    restarted = cell("%restart")
    after = cell("'n' in globals()")

    assert listed == [
        {"name": "n", "type": "int", "value": "41"},
        {"name": "words", "type": "list", "length": 2},
    ]
    assert (restarted.outcome, restarted.interpreter) == (Outcome.OK, "none")
    assert after.results == [{"text/plain": "False"}]
    assert restarts(client, after.job) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"context": "other"}, "context"), ({"args": ["a"]}, "args")],
)
def test_what_a_cell_cannot_have_is_refused_by_name(cell: Cell, spec: dict[str, Any], field: str) -> None:
    result = cell("1", **spec)

    assert (result.outcome, result.interpreter) == (Outcome.REJECTED, "none")
    assert field in result.message


def test_a_forged_bundle_is_shown_as_a_note_and_costs_nothing(cell: Cell) -> None:
    cell("keep = 41")
    forged = cell(
        "import gc, os, struct\n"
        "repl = next(o for o in gc.get_objects() if type(o).__name__ == 'Repl')\n"
        "bodies = [b'[1]', b'{', b'{\"a\": 1}', b'[' * 9999]\n"
        'bodies += [b\'{"text/plain": "\\\\ud800"}\', b\'{"application/json": NaN}\']\n'
        "for body in bodies:\n"
        "    os.write(repl._results, struct.pack('>IB', len(body) + 2, 69) + b'\\0' + body)"
    )

    assert (forged.outcome, forged.interpreter) == (Outcome.OK, "kept")
    note = {"text/plain": "(something was shown that is no MIME bundle)"}
    assert forged.results == [note, note, note, note, {"text/plain": "?"}, note]
    assert cell("keep").results == [{"text/plain": "41"}]


def test_the_command_line_shows_text_and_saves_pictures(live: Live, tmp_path: Path, cell: Cell) -> None:
    session = cell("from IPython.display import HTML").session
    line = [
        sys.executable,
        "-m",
        "leasebox.cli",
        "run",
        "--session",
        session,
        "--stateful",
        "--out",
        str(tmp_path / "o"),
    ]
    code = "class P:\n def _repr_png_(s): return b'picture'\n def __repr__(s): return 'P'\ndisplay(HTML('<i>'))\nP()"

    shown = subprocess.run([*line, "-c", code], env=live.environment(), capture_output=True, text=True, check=True)
    failed = subprocess.run([*line, "-c", "1 / 0"], env=live.environment(), capture_output=True, text=True)

    assert shown.stdout == "<HTML>\nP\n"
    assert (tmp_path / "o" / "result-1.html").read_text() == "<i>"
    assert (tmp_path / "o" / "result-2.png").read_bytes() == b"picture"
    assert f"saved {tmp_path / 'o' / 'result-2.png'}" in shown.stderr
    assert failed.returncode == 1
    assert 'File "<cell 3>", line 1' in failed.stderr


def test_python_code_of_a_session_is_a_cell_and_what_cannot_be_one_is_a_program(client: Client) -> None:
    with client.session() as box:
        box.run("n = 41", wait_s=WAIT_S)
        value = box.run("n + 1", wait_s=WAIT_S)
        program = box.run("import sys; print(sys.argv[1])", args=["a"], wait_s=WAIT_S)
        shell = box.run("echo $0", language="bash", wait_s=WAIT_S)
        asked = box.run("print('n' in globals())", stateful=False, wait_s=WAIT_S)
        listed = box.variables()
        box.restart()
        after = box.variables()

    assert value.results == [{"text/plain": "42"}]
    assert [job.interpreter for job in (program, shell, asked)] == ["kept"] * 3
    assert (program.stdout, shell.outcome, asked.stdout) == ("a\n", Outcome.OK, "False\n")
    assert [(variable.name, variable.value) for variable in listed] == [("n", "41")]
    assert after == []


def test_a_session_of_programs_has_no_interpreter(client: Client) -> None:
    with client.session(stateful=False) as box:
        assert box.run("n = 41", wait_s=WAIT_S).interpreter == "none"
