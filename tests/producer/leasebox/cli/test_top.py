"""`leasebox top` at a real terminal: it follows what happens, survives an outage, and leaves the terminal as it was."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.producer.leasebox.served import served

from leasebox import Client
from leasebox.cli.top import show_top
from leasebox.config import ClientSettings

pytestmark = pytest.mark.slow
WAIT_S = 60.0
ENTERED, LEFT, CURSOR_SHOWN = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
TOP = (sys.executable, "-m", "leasebox.cli", "top")


def environment(settings: ClientSettings, **more: str) -> dict[str, str]:
    given = {"LEASEBOX_URL": str(settings.url), "LEASEBOX_PREFIX": settings.prefix, "LEASEBOX_HOME": str(settings.home)}
    # Of the terminal on which the tests are run; rich believes these before the size of its own.
    rest = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**rest, "TERM": "xterm", **given, **more}


class Screen:
    """`leasebox top` at a terminal of 40 rows, which it controls."""

    def __init__(self, env: dict[str, str], *words: str) -> None:
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.said = ""
        self.child = subprocess.Popen(
            [*TOP, *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Read on until a text was shown; what stands before it is forgotten."""
        deadline = time.monotonic() + WAIT_S
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self._read(), self.said
        self.said = self.said.partition(text)[2]

    def end(self) -> int:
        """The exit status, after all was read."""
        deadline = time.monotonic() + WAIT_S
        while self._read():
            assert time.monotonic() < deadline, self.said
        return self.child.wait(WAIT_S)

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], 1.0)[0]:
            return True
        try:
            more = os.read(self.fd, 65536)
        except OSError:  # nobody has the other side any more
            return False
        self.said += more.decode(errors="replace")
        return bool(more)


@contextmanager
def screen(env: dict[str, str], *words: str) -> Iterator[Screen]:
    shown = Screen(env, *words)
    try:
        yield shown
    finally:
        if shown.child.poll() is None:
            shown.child.kill()
            shown.child.wait()
        os.close(shown.fd)


def test_it_follows_what_happens_and_ctrl_c_ends_it(settings: ClientSettings, client: Client, played: Any) -> None:
    with screen(environment(settings)) as top:
        top.wait_for(ENTERED)
        top.wait_for("Newest 0 jobs: 0 queued, 0 running")
        handle = client.submit("1", session="box")
        top.wait_for("1 queued")
        work = played.begin(handle.id)
        top.wait_for(handle.id)
        played.end(work, "error")
        top.wait_for("0 running, 1 error; 1 ended in the last minute; live sessions: 1.")
        os.write(top.fd, b"\x03")

        assert top.end() == 0
        assert top.said.index(LEFT) > 0
        assert CURSOR_SHOWN in top.said
        assert "Traceback" not in top.said


@pytest.mark.long
def test_sigterm_gives_the_terminal_back_too(settings: ClientSettings) -> None:
    with screen(environment(settings)) as top:
        top.wait_for("Newest 0 jobs")
        top.child.send_signal(signal.SIGTERM)

        assert top.end() == 143
        assert LEFT in top.said
        assert CURSOR_SHOWN in top.said


@pytest.mark.long
def test_it_goes_on_over_an_api_that_was_away(settings: ClientSettings, client: Client) -> None:
    with served(settings) as url:
        port = int(url.rpartition(":")[2])
        env = environment(settings, LEASEBOX_URL=url)
        shown = Screen(env)
        shown.wait_for("Newest 0 jobs")
    try:
        shown.wait_for("cannot reach the API")
        with served(settings, port=port):
            client.submit("1")
            shown.wait_for("Newest 1 jobs: 1 queued")
            os.write(shown.fd, b"\x03")
            assert shown.end() == 0
    finally:
        if shown.child.poll() is None:
            shown.child.kill()
            shown.child.wait()
        os.close(shown.fd)


@pytest.mark.long
@pytest.mark.parametrize(("words", "term"), [(("--once",), "xterm"), ((), "dumb")])
def test_it_is_printed_once_where_that_is_asked_or_the_terminal_is_dumb(
    settings: ClientSettings, words: tuple[str, ...], term: str
) -> None:
    with screen(environment(settings, TERM=term), *words) as top:
        assert top.end() == 0
        assert "Newest 0 jobs" in top.said
        assert ENTERED not in top.said


def test_without_a_terminal_it_is_printed_once(settings: ClientSettings, client: Client) -> None:
    client.submit("1")
    done = subprocess.run(TOP, env=environment(settings), capture_output=True, text=True, timeout=WAIT_S, check=True)

    assert "\x1b" not in done.stdout
    assert "leasebox.default      1       1" in done.stdout
    assert "Newest 1 jobs: 1 queued, 0 running" in done.stdout


def test_as_json_it_is_one_document(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.submit("1")
    show_top(client, is_once=False, is_json=True)

    found = json.loads(capsys.readouterr().out)
    assert (found["jobs_looked_at"], found["outcomes"], found["live_sessions"]) == (1, {}, 0)
    assert found["queues"][1]["queued"] == 1


@pytest.mark.long
def test_a_redis_that_is_not_there_is_one_sentence_and_125(settings: ClientSettings) -> None:
    env = environment(settings, LEASEBOX_URL="redis://127.0.0.1:1/0")
    with screen(env) as top:
        assert top.end() == 125
        assert "leasebox: cannot reach Redis" in top.said
        assert ENTERED not in top.said
