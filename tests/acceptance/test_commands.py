"""Commands in a session's sandbox, as an application and a shell see them, on a live system with each driver."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.acceptance.conftest import Live

from leasebox import AsyncClient
from leasebox.client import Client, Session
from leasebox.contract.result import Outcome

pytestmark = pytest.mark.slow
WAIT_S = 60.0


@pytest.fixture
def box(either_client: Client) -> Iterator[Session]:
    """A session of this test's own, by Redis and by the API."""
    with either_client.session(env={"NAME": "box"}) as session:
        yield session


def leasebox(live: Live, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Type a command."""
    command = [sys.executable, "-m", "leasebox.cli", *words]
    return subprocess.run(
        command, env=live.environment(), input=given, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_command_has_its_own_folder_environment_input_outputs_and_exit_code(box: Session) -> None:
    box.commands.run("mkdir -p d && echo 1 > d/f", check=True, wait_s=WAIT_S)
    line = "pwd; ls; cat; echo $NAME $MORE >&2; exit 3"
    result = box.commands.run(line, cwd="d", env={"MORE": "x"}, stdin="given\n", wait_s=WAIT_S)

    assert (result.outcome, result.exit_code) == (Outcome.ERROR, 3)
    assert (result.stdout, result.stderr) == ("/workspace/d\nf\ngiven\n", "box x\n")


def test_a_list_is_run_without_a_shell(box: Session) -> None:
    assert box.commands.run(["echo", "$NAME", "a  b", ";"], wait_s=WAIT_S).stdout == "$NAME a  b ;\n"


def test_a_kept_interpreter_survives_a_command_and_stands_still_meanwhile(box: Session) -> None:
    ticking = "import threading, time\nn = 0\ndef tick():\n global n\n while True:\n  n += 1\n  time.sleep(0.001)\n"
    box.run(f"{ticking}threading.Thread(target=tick, daemon=True).start()", check=True, wait_s=WAIT_S)
    before = box.run("n", wait_s=WAIT_S).results[0]["text/plain"]
    command = box.commands.run("sleep 0.5; grep State /proc/[0-9]*/status | grep -c stopped", wait_s=WAIT_S)
    after = box.run("n", wait_s=WAIT_S).results[0]["text/plain"]

    assert (command.stdout, command.interpreter) == ("1\n", "kept")
    assert int(after) - int(before) < 250  # it would have ticked some 400 times in half a second


def test_what_a_command_leaves_in_the_background_has_ended_with_it(box: Session) -> None:
    box.run("kept = 1", wait_s=WAIT_S)
    first = box.commands.run("(sleep 60 & echo $! > pid); setsid sleep 61 & echo on", wait_s=WAIT_S)
    second = box.commands.run("pgrep -f 'sleep 6[01]' || echo none", wait_s=WAIT_S)

    assert (first.outcome, first.stdout) == (Outcome.OK, "on\n")
    assert second.stdout == "none\n"
    assert box.run("kept", wait_s=WAIT_S).results == [{"text/plain": "1"}]


def test_a_command_at_its_time_limit_ends_alone(box: Session) -> None:
    box.run("kept = 1", wait_s=WAIT_S)
    result = box.commands.run("echo on; sleep 60", timeout_s=3, wait_s=WAIT_S)

    assert (result.outcome, result.limit, result.stdout) == (Outcome.TIMEOUT, "wall", "on\n")
    assert box.run("kept", wait_s=WAIT_S).results == [{"text/plain": "1"}]


def test_output_comes_live(box: Session) -> None:
    seen: list[str] = []
    box.commands.run("echo a; sleep 0.2; echo b", on_event=lambda event: seen.append(event.type), wait_s=WAIT_S)

    assert seen.count("stdout") == 2


def test_the_async_twin(live: Live) -> None:
    async def go() -> str:
        async with AsyncClient(live.url) as client, await client.session() as box:
            return (await box.commands.run(["echo", "hi"], check=True, wait_s=WAIT_S)).stdout

    assert asyncio.run(go()) == "hi\n"


def test_exec_runs_a_command_in_a_live_session_and_exits_as_it_did(live: Live, client: Client) -> None:
    with client.session() as box:
        shown = leasebox(
            live, "sessions", "exec", box.name, "--env", "A=1", "--stdin", "-", "--",
            "sh", "-c", "cat; echo $A >&2; exit 7", "--quiet", given="in\n",
        )  # fmt: skip
        as_json = leasebox(live, "sessions", "exec", box.name, "--json", "--timeout", "5s", "--", "pwd")

    assert (shown.returncode, shown.stdout) == (7, "in\n")
    assert shown.stderr.startswith("1\nleasebox: error (exit 7)")
    assert json.loads(as_json.stdout)["stdout"] == "/workspace\n"


@pytest.mark.parametrize("flags", [(), ("--stdin", "-")])
def test_exec_passes_on_what_comes_on_its_own_input(live: Live, client: Client, flags: tuple[str, ...]) -> None:
    with client.session() as box:
        command = ["sessions", "exec", box.name, "-q", *flags, "--", "sh", "-c", "while read l; do echo $l; done"]
        shell = subprocess.Popen(
            [sys.executable, "-m", "leasebox.cli", *command],
            env=live.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert shell.stdin is not None
        assert shell.stdout is not None
        for word in ("one\n", "two\n"):
            shell.stdin.write(word)
            shell.stdin.flush()
            assert shell.stdout.readline() == word
        shell.communicate(timeout=60)

    assert shell.returncode == 0


def test_exec_of_what_reads_nothing_waits_for_no_end_of_its_own_input(live: Live, client: Client) -> None:
    with client.session() as box:
        command = ["sessions", "exec", box.name, "-q", "--", "true"]
        with subprocess.Popen(
            [sys.executable, "-m", "leasebox.cli", *command], env=live.environment(), stdin=subprocess.PIPE
        ) as shell:
            assert shell.wait(60) == 0


def test_exec_in_a_session_that_is_not_there_is_ours(live: Live) -> None:
    shown = leasebox(live, "sessions", "exec", "never-was", "--", "ls")

    assert (shown.returncode, shown.stdout) == (125, "")
    assert "never-was" in shown.stderr
