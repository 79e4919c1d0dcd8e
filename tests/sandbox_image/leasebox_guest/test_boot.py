"""The start fails closed: PID 1 never runs the program in the workspace."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leasebox_guest.frames import Kind

RAN = b"main.py ran"
PLANT = f"echo 'import os; os.write(1, b\"{RAN.decode()}\")' > main.py"
Spawn = Callable[..., Any]


@pytest.fixture
def broken(agent_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the agent to damage, where the sandbox's uid can reach it."""
    copy = Path(f"/tmp/broken-{os.getpid()}-{tmp_path.name}")
    shutil.copytree(agent_dir, copy)
    yield copy
    shutil.rmtree(copy)


def all_output(host: Any) -> bytes:
    said = b""
    while data := host.read_raw():
        said += data
    return said


def damage_missing(agent: Path) -> None:
    (agent / "sitecustomize.py").unlink()
    shutil.rmtree(agent / "__pycache__")


def damage_syntax(agent: Path) -> None:
    (agent / "sitecustomize.py").write_text("serve(\n")


def damage_nul(agent: Path) -> None:
    (agent / "sitecustomize.py").write_bytes(b"import os\0")


def damage_agent_missing(agent: Path) -> None:
    (agent / "leasebox_guest" / "agent.py").unlink()


def damage_agent_syntax(agent: Path) -> None:
    (agent / "leasebox_guest" / "agent.py").write_text("def serve(:\n")


def damage_agent_raises(agent: Path) -> None:
    (agent / "leasebox_guest" / "agent.py").write_text("def serve(bare): raise SystemExit(0)\n")


def damage_agent_returns(agent: Path) -> None:
    (agent / "leasebox_guest" / "agent.py").write_text("def serve(bare): pass\n")


def damage_agent_child_raises(agent: Path) -> None:
    """A child that fails before it has become the job must not run the program either, with the agent's rights."""
    (agent / "leasebox_guest" / "agent.py").write_text(
        "import os\n"
        "def serve(bare):\n    pid = os.fork()\n    if pid == 0: 1 / 0\n    os.waitpid(pid, 0)\n    os._exit(70)\n"
    )


DAMAGES = [
    damage_missing, damage_syntax, damage_nul, damage_agent_missing, damage_agent_syntax, damage_agent_raises,
    damage_agent_returns, damage_agent_child_raises,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_broken_agent_ends_with_70_and_never_runs_the_program(
    damage: Callable[[Path], None], broken: Path, spawn: Spawn
) -> None:
    damage(broken)

    host = spawn("r2", agent=broken, before=PLANT)

    assert RAN not in all_output(host)
    assert host.exit_code() == 70


def test_the_plant_of_these_tests_would_run_without_boot(spawn: Spawn, broken: Path) -> None:
    (broken / "boot.py").write_text("import os, sys; os.execv(sys.executable, [sys.executable, 'main.py'])")

    assert RAN in all_output(spawn("r2", agent=broken, before=PLANT))


def test_a_program_that_was_there_before_ready_waits_for_its_exec(spawn: Spawn) -> None:
    host = spawn("r2", before=PLANT)

    assert host.expect(Kind.READY)["version"] == 1
    assert host.run().stdout == RAN


@pytest.mark.parametrize("options", [["--nonsense", "1"], ["--eof", "maybe"], ["--job-uid", "0"], ["--dead-man"]])
def test_options_that_are_wrong_end_the_start(options: list[str], spawn: Spawn) -> None:
    host = spawn("r2", *options)

    assert all_output(host) == b""
    assert host.exit_code() == 70


def test_a_preload_that_starts_a_thread_ends_the_start(spawn: Spawn, broken: Path) -> None:
    (broken / "threaded.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
    )

    host = spawn("r2", "--preload", "threaded", agent=broken)

    assert all_output(host) == b""
    assert host.exit_code() == 70


@pytest.mark.parametrize("mode", ["r2", "r1"])
def test_a_preload_may_write_and_nothing_of_it_is_there_for_a_job(spawn: Spawn, broken: Path, mode: str) -> None:
    """As matplotlib does: in a folder below HOME if it may, else in one of /tmp that each job's end would remove."""
    (broken / "writer.py").write_text(
        "import os, threading\nassert os.access(os.path.expanduser('~'), os.W_OK)\n"
        "WHERE = os.path.expanduser('~/.cache/writer'); os.makedirs(WHERE); open(WHERE + '/list', 'w').close()\n"
        "os.mkdir('/tmp/mine'); open('/tmp/mine/a', 'w').close(); open('/tmp/b', 'w').close()\n"
        "timer = threading.Timer(60, print); timer.start(); timer.cancel()\n"
    )
    program = "import os, writer; print(writer.WHERE, os.environ['HOME'], os.listdir('/tmp'), sorted(os.listdir()))"

    host = spawn(mode, "--preload", "writer", agent=broken)
    assert host.expect(Kind.READY)["preloaded"] == ["writer"]
    ran = host.run(program)

    assert ran.stdout == b"/workspace/.cache/writer /workspace [] ['main.py']\n", ran.stderr
    assert (ran.clean, ran.stderr) == (True, b"")


def test_a_preload_that_fails_or_prints_does_no_harm(spawn: Spawn, broken: Path) -> None:
    (broken / "loud.py").write_text("print('loud'); import sys; sys.stdout.flush()")
    (broken / "bad.py").write_text("1 / 0")

    host = spawn("r2", "--preload", "bad,loud,json,missing", agent=broken)

    assert host.expect(Kind.READY)["preloaded"] == ["loud", "json"]
    assert host.run("print(1)").stdout == b"1\n"


HOOKS = [
    "json",
    "os",
    "site",
    "sitecustomize",
    "usercustomize",
    "leasebox_guest",
    "ctypes",
    "struct",
    "enum",
    "select",
    "re",
    "traceback",
    "_frozen_importlib",
]


@pytest.mark.parametrize("mode", ["r2"])
def test_pid_1_loads_nothing_from_the_workspace(mode: str, spawn: Spawn) -> None:
    plants = [f'echo \'open("/workspace/loaded", "a")\' > {name}.py' for name in HOOKS]
    plants += ["echo home = / > pyvenv.cfg", "mkdir -p .local/lib/python3.11/site-packages"]
    plants += ["echo 'import os; os.open(\"/workspace/loaded\", 66)' > .local/lib/python3.11/site-packages/a.pth"]
    host = spawn(mode, before="; ".join(plants))

    host.expect(Kind.READY)

    found = host.run(kind="command", argv=["ls"]).stdout.split()
    assert b"json.py" in found
    assert b"loaded" not in found


def test_the_environment_of_the_image_does_not_reach_the_jobs(host: Any) -> None:
    ended = host.run("import os; print(sorted(os.environ))")

    assert ended.stdout == b"['HOME', 'LANG', 'PATH']\n"
