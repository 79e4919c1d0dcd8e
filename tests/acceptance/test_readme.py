"""Every command and program of the README works as it stands there, on an embedded stack of its own."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(".venv/bin/leasebox")  # `make run` is tests/test_make_run.py's
]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def environment(bwrap) -> Iterator[dict[str, str]]:
    """Settings under which commands start a stack that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="lbr-", dir="/tmp") as home:
        Path(home).chmod(0o755)
        yield {**os.environ, "LEASEBOX_HOME": home}
        leasebox(["down"], {**os.environ, "LEASEBOX_HOME": home})


def leasebox(arguments: list[str], environment: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line as a user's shell would."""
    return subprocess.run(
        [sys.executable, "-m", "leasebox.cli", *arguments],
        env=environment,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_the_readme_has_commands_and_a_program() -> None:
    assert len(COMMANDS) >= 3
    assert len(PROGRAMS) >= 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str, environment: dict[str, str]) -> None:
    done = leasebox(shlex.split(command)[1:], environment)

    assert done.returncode == 0, done.stderr
    if "6 * 7" in command:
        assert done.stdout == "42\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_readme_works(program: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=90
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "ok 42"
    assert done.stdout.splitlines()[-1] == "finished"


@pytest.mark.parametrize(
    ("arguments", "stdin", "stdout", "status"),
    [
        (["run", "-"], "print(6*7)", "42\n", 0),
        (["run", "-c", "import sys; sys.exit(3)"], "", "", 3),
        (["run", "-c", "while True: pass", "--timeout", "1"], "", "", 124),
        (["run", "-c", "import os; os.kill(os.getpid(), 15)"], "", "", 143),
        (["run", "-c", "import sys; print(sys.argv[1:])", "--", "a", "-b"], "", "['a', '-b']\n", 0),
    ],
)
def test_the_exit_status_is_the_programs_own_or_names_the_limit(
    arguments: list[str], stdin: str, stdout: str, status: int, environment: dict[str, str]
) -> None:
    done = leasebox(arguments, environment, stdin)

    assert (done.stdout, done.returncode) == (stdout, status), done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"LEASEBOX_URL": "redis://127.0.0.1:1/0"}, "cannot reach Redis"),
        ({"LEASEBOX_URL": "gopher://x"}, "LEASEBOX_URL"),
        ({"LEASEBOX_HOME": "/proc/nowhere"}, "LEASEBOX_HOME"),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(
    settings: dict[str, str], words: str, environment: dict[str, str]
) -> None:
    done = leasebox(["run", "-c", "1"], environment | settings)

    assert done.returncode == 125
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
