"""Does the host see a job's program in two places, and only then?"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.chaos.watch import Watcher, sign_of

SIGN = sign_of(os.getpid())
NAMED = "import sys; open('/proc/self/comm', 'w').write(sys.argv[1]); print(flush=True); input()"


@pytest.fixture
def program() -> Iterator[Callable[[int], int]]:
    """Start a program of a job; its pid."""
    started = []

    def start(job: int) -> int:
        command = [sys.executable, "-c", NAMED, f"{SIGN}-{job}"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child.pid

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    return Watcher(tmp_path, SIGN)


def test_two_programs_of_one_job_are_told(watcher: Watcher, program: Callable[[int], int]):
    pids = {program(7), program(7)}

    watcher.look()

    assert {job: set(found) for job, found in watcher.twins.items()} == {7: pids}


def test_programs_of_two_jobs_are_seen_and_not_told(watcher: Watcher, program: Callable[[int], int]):
    program(7), program(8)

    watcher.look()

    assert (watcher.seen, watcher.twins) == ({7, 8}, {})


def test_a_program_that_is_held_is_not_in_a_second_place(watcher: Watcher, program: Callable[[int], int], eventually):
    held = program(7)
    program(7)
    os.kill(held, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{held}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    watcher.look()

    assert watcher.twins == {}


def test_sandboxes_are_noted_while_they_are_there(watcher: Watcher, tmp_path: Path):
    folder = tmp_path / "sandboxes/bubblewrap/lb-1"
    folder.mkdir(parents=True)
    watcher.look()
    folder.rmdir()
    watcher.look()

    assert watcher.sandboxes == {"lb-1"}
