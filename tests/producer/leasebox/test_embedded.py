"""Does the embedded stack start once, survive crashes, and stop when nobody needs it?"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leasebox import Client, _rotation, _supervisor, embedded, errors
from leasebox.config import ClientSettings
from leasebox.embedded import Place, Stack, last_word

WORKER = [sys.executable, str(Path(__file__).with_name("played_worker.py"))]
pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> ClientSettings:
    """Settings of a stack of this test alone."""
    return ClientSettings(home=tmp_path, _env_file=None)


@pytest.fixture
def stack(home: ClientSettings) -> Iterator[Stack]:
    """The stack, ended with the test."""
    made = Stack(home, WORKER)
    yield made
    made.stop()


def client_of(stack: Stack, settings: ClientSettings) -> Client:
    """A client whose stack has the played worker."""
    client = Client(settings=settings)
    client._stack = stack
    return client


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has reaped counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may go between open and read
        return True


def test_the_first_job_starts_the_stack_and_two_at_once_share_it(stack: Stack, home: ClientSettings):
    outputs: list[str] = []

    def run(text: str) -> None:
        outputs.append(client_of(Stack(home, WORKER), home).run(text, wait_s=20).stdout)

    threads = [threading.Thread(target=run, args=(text,)) for text in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outputs) == ["a", "b", "c"]
    supervisors = [p for p in Path("/proc").glob("[0-9]*/environ") if _belongs(p, home)]
    assert len(supervisors) == 1


def _belongs(environ: Path, home: ClientSettings) -> bool:
    try:
        command = environ.with_name("cmdline").read_bytes()
        return b"leasebox._supervisor" in command and f"LEASEBOX_HOME={home.home}".encode() in environ.read_bytes()
    except OSError:
        return False


def test_a_killed_supervisor_is_replaced_and_its_jobs_are_kept(stack: Stack, home: ClientSettings, eventually: Any):
    client = client_of(stack, home)
    first = client.submit("a")
    first.result(20)
    before = stack.running()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: gone(before.pid))

    second = client.run("b", wait_s=20)

    after = stack.running()
    assert second.stdout == "b"
    assert after is not None
    assert after.pid != before.pid
    assert gone(before.valkey_pid)
    eventually(lambda: gone(before.worker_pid))
    assert first.result(5).stdout == "a"


def test_what_a_killed_supervisor_said_is_gone_before_the_next_one_starts(
    stack: Stack, eventually: Any, monkeypatch: pytest.MonkeyPatch
):
    stack.hold().release()
    before = stack.running()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: gone(before.pid))
    left = stack.place.ready.exists()
    seen = []
    spawn = embedded.spawn
    monkeypatch.setattr(embedded, "spawn", lambda *given: seen.append(stack.place.ready.exists()) or spawn(*given))
    stack.hold().release()

    assert (left, seen) == (True, [False])


def test_a_killed_worker_and_a_killed_valkey_are_started_again(stack: Stack, home: ClientSettings, eventually: Any):
    client = client_of(stack, home)
    client.run("a", wait_s=20)
    for part in ("worker_pid", "valkey_pid"):
        before = stack.running()
        assert before is not None
        os.kill(getattr(before, part), signal.SIGKILL)
        eventually(lambda before=before: stack.running() not in (None, before), within_s=20)

        assert client.run("b", wait_s=20).stdout == "b"


def test_it_stops_when_idle_and_not_under_a_held_request(home: ClientSettings, eventually: Any):
    stack = Stack(home.model_copy(update={"embedded_idle_s": 0.4}), WORKER)
    hold = stack.hold()
    ready = stack.running()
    assert ready is not None
    # A second holder that comes and goes must not let the stack stop under the first.
    stack.hold().release()
    assert stack.running() is not None
    hold.release()

    eventually(lambda: stack.running() is None and gone(ready.worker_pid) and gone(ready.valkey_pid), within_s=10)


def test_down_ends_everything_and_may_be_repeated(stack: Stack):
    stack.hold().release()
    ready = stack.running()
    assert ready is not None

    assert stack.stop()
    assert not stack.stop()
    assert gone(ready.worker_pid)
    assert gone(ready.valkey_pid)


def test_down_lets_a_busy_worker_end_its_sandboxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., object]
):
    monkeypatch.setattr(_supervisor, "_WORKER_STOP_S", 2.0)
    script = "trap '' TERM; trap 'echo swept > swept; exit' QUIT; echo > ready; while :; do sleep 0.05; done"
    worker = subprocess.Popen(["bash", "-c", script], cwd=tmp_path)
    eventually((tmp_path / "ready").exists)

    _supervisor.Supervisor._end_worker(worker)

    assert worker.returncode == 0
    assert (tmp_path / "swept").read_text() == "swept\n"


def test_a_worker_that_cannot_start_is_told_in_its_own_words(home: ClientSettings):
    words = "leasebox-worker: no bubblewrap here (install it)"
    stack = Stack(home, [sys.executable, "-c", f"import sys; print({words!r}, file=sys.stderr); sys.exit(78)"])

    with pytest.raises(errors.StartFailed, match="no bubblewrap here"):
        stack.hold()
    assert stack.running() is None


def test_valkey_listens_on_no_tcp_port(stack: Stack):
    stack.hold().release()
    ready = stack.running()
    assert ready is not None

    inodes = {str(fd.readlink()) for fd in Path(f"/proc/{ready.valkey_pid}/fd").iterdir()}
    listening = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    assert not [line for line in listening if f"socket:[{line[9]}]" in inodes]


def test_the_socket_path_fits_however_long_the_folder_is():
    deep = Place(Path("/" + "x" * 200))

    assert len(os.fsencode(deep.socket)) <= 107
    assert deep.socket != Place(Path("/" + "y" * 200)).socket


def test_the_logs_of_a_stack_are_rotated_while_it_runs(home: ClientSettings, eventually: Any) -> None:
    home.home.mkdir(exist_ok=True)
    hurried = home.model_copy(update={"embedded_idle_s": 2.0})
    stack = Stack(hurried, WORKER)
    stack.place.log.write_bytes(b"x" * (_rotation.MAX_BYTES + 1))
    try:
        with stack.held():
            eventually(lambda: stack.place.log.stat().st_size < _rotation.MAX_BYTES, within_s=60)
            with stack.place.log.open("ab") as another:
                another.write(b"after\n")
        assert stack.place.log.with_name("embedded.log.1").stat().st_size > _rotation.MAX_BYTES
        assert b"after\n" in stack.place.log.read_bytes()
    finally:
        stack.stop()


def test_the_last_word_of_a_log_is_told_without_who_said_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\nleasebox: Valkey is missing (install it)\n\n")

    assert last_word(log) == "Valkey is missing (install it)"
