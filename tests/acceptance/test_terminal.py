"""`leasebox run` at a real terminal: what is typed is input, Ctrl-D its end, Ctrl-C a cancel; and with pipes."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.conftest import DOORS, Live

pytestmark = DOORS
WAIT_S = 60.0
ASKS = "name = input('who? ')\nprint('hi', name, flush=True)\nimport sys\nprint(len(sys.stdin.read()), 'more')"

RUN = ("-m", "leasebox.cli", "run")
IN_THE_BACKGROUND = """
import os, signal, subprocess, sys
command = [sys.executable, "-m", "leasebox.cli", "run", "-c", "print('up', flush=True); input()"]
child = subprocess.Popen(command, process_group=0)
input()
print("stopped" if os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOHANG) else "runs", flush=True)
child.send_signal(signal.SIGINT)
print("ended", child.wait(), flush=True)
"""


class Terminal:
    """A shell's one command at a terminal of its own, which it controls."""

    def __init__(self, live: Live, *words: str) -> None:
        self.fd, theirs = pty.openpty()
        self.said = ""
        self.child = subprocess.Popen(
            [sys.executable, *words],
            env=live.environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str) -> None:
        """Read on until a text was said; what stands before it is forgotten."""
        deadline = time.monotonic() + WAIT_S
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            self._read()
        self.said = self.said.partition(text)[2]

    def end(self) -> int:
        """The exit status, after all was read."""
        deadline = time.monotonic() + WAIT_S
        while self.child.poll() is None:
            assert time.monotonic() < deadline, self.said
            self._read()
        self._read()
        return self.child.returncode

    def _read(self) -> None:
        if select.select([self.fd], [], [], 0.2)[0]:
            try:
                self.said += os.read(self.fd, 4096).decode()
            except OSError:  # the other end is closed
                return

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.fd)


@pytest.fixture
def asking(live: Live, tmp_path: Path) -> Iterator[Terminal]:
    """A program that asks and then reads to the end."""
    (tmp_path / "asks.py").write_text(ASKS)
    terminal = Terminal(live, *RUN, str(tmp_path / "asks.py"))
    yield terminal
    terminal.close()


def test_what_is_typed_is_the_programs_input_and_ctrl_d_its_end(asking: Terminal) -> None:
    asking.wait_for("who? ")
    asking.type("Ada\n")
    asking.wait_for("hi Ada")
    asking.type("four\n\x04")
    asking.wait_for("5 more")
    asking.wait_for("leasebox: ok")

    assert asking.end() == 0


def test_ctrl_c_cancels_a_program_that_waits_for_input(asking: Terminal) -> None:
    asking.wait_for("who? ")
    asking.type("\x03")
    asking.wait_for("leasebox: cancelled")

    assert asking.end() == 130


def test_a_cell_that_asks_is_answered_at_the_terminal(live: Live) -> None:
    terminal = Terminal(
        live, *RUN, "--session", f"t-{uuid.uuid4().hex[:8]}", "--stateful", "-c", "n = int(input('n? ')); n * 7"
    )
    terminal.wait_for("n? ")
    terminal.type("6\n")
    terminal.wait_for("42")

    assert terminal.end() == 0
    terminal.close()


def test_a_program_that_reads_nothing_ends_without_a_key_being_pressed(live: Live) -> None:
    terminal = Terminal(live, *RUN, "-c", "print('done')")
    terminal.wait_for("done")

    assert terminal.end() == 0
    terminal.close()


def test_a_command_in_the_background_is_not_stopped_by_its_terminal(live: Live) -> None:
    """As `leasebox run ... &` does: the kernel stops whoever reads a terminal that another job has."""
    terminal = Terminal(live, "-c", IN_THE_BACKGROUND)
    terminal.wait_for("up")
    terminal.type("x\n")
    terminal.wait_for("runs")
    terminal.wait_for("ended 130")
    terminal.close()


def _run(live: Live, *words: str, **given: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *RUN, *words],
        env=live.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **given,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("--stdin", "-")])
def test_a_slow_pipe_is_passed_on_as_it_comes(live: Live, flags: tuple[str, ...]) -> None:
    shell = _run(
        live,
        "-q",
        *flags,
        "-c",
        "import sys\nfor l in sys.stdin: print(l.upper(), end='', flush=True)",
        stdin=subprocess.PIPE,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    for word in ("one\n", "two\n"):
        shell.stdin.write(word)
        shell.stdin.flush()
        assert shell.stdout.readline() == word.upper()
    shell.communicate(timeout=WAIT_S)

    assert shell.returncode == 0


def test_a_file_on_standard_input_is_the_programs(live: Live, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(3 << 20))
    with (tmp_path / "data").open("rb") as data:
        out, err = _run(live, "-q", "-c", "import sys; print(len(sys.stdin.buffer.read()))", stdin=data).communicate(
            timeout=WAIT_S
        )

    assert (out, err) == (f"{3 << 20}\n", "")


@pytest.mark.parametrize("flags", [("--retries", "1"), ("--idempotency-key", "{key}"), ("--stdin", "/dev/null")])
def test_what_could_be_needed_twice_or_is_given_otherwise_takes_nothing_of_ours(
    live: Live, flags: tuple[str, ...]
) -> None:
    given = [flag.format(key=uuid.uuid4().hex) for flag in flags]
    shell = _run(live, "-q", *given, "-c", "import sys; print(repr(sys.stdin.read()))", stdin=subprocess.PIPE)
    assert shell.stdout is not None

    assert shell.stdout.readline() == "''\n"  # although the pipe stays open
    shell.communicate("late", timeout=WAIT_S)
    assert shell.returncode == 0


def test_a_pipe_is_still_read_whole_for_a_job_that_nobody_waits_for(live: Live) -> None:
    shell = _run(live, "--detach", "--stdin", "-", "-c", "print(input())", stdin=subprocess.PIPE)
    job = shell.communicate("given\n", timeout=WAIT_S)[0].strip()

    with live.client() as client:
        assert client.job(job).result(timeout_s=WAIT_S).stdout == "given\n"
