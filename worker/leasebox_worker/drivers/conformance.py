"""What must every driver do? One function per rule, written against `base.Driver` alone; tests parametrise over both.

A rule raises AssertionError when it is broken. `RULES` hold for every driver, `ISOLATION_RULES` for those that promise
more than weak isolation, `FULL_RULES` for those with enforced memory and inodes.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from leasebox.contract.errors import SandboxDied, StartFailed
from leasebox_worker.drivers.base import Channel, ChannelClosed, Driver, Handle, Limits, SandboxRequest
from leasebox_worker.drivers.one_job import Ended, Guest

LIMITS = Limits(cpus=1.0, memory_bytes=192 << 20, pids=48, open_files=128, disk_bytes=48 << 20, tmp_bytes=16 << 20)
READY_WITHIN_S = 20.0
_RUN_WITHIN_S = 20.0

_FILL = """
import os, errno
try:
    with open("big", "wb") as file:
        while True:
            file.write(bytes(1 << 20))
except OSError as exc:
    print(errno.errorcode[exc.errno], os.path.getsize("big") >> 20)
"""
_MANY_FILES = """
import errno
try:
    for n in range(100_000):
        open(f"f{n}", "w").close()
except OSError as exc:
    print(errno.errorcode[exc.errno], n)
"""
_FORKS = """
import os, time
n = 0
try:
    while n < 1000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError as exc:
    print(type(exc).__name__, n)
"""
_FILES = """
n = 0
kept = []
try:
    while n < 5000:
        kept.append(open("/dev/null"))
        n += 1
except OSError as exc:
    print(exc.errno, n)
"""
_MEMORY = """
kept = []
while True:
    kept.append(bytearray(b"x" * (8 << 20)))
"""
_DAEMONS = """
import os, signal, time
for _ in range(12):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            while True:
                time.sleep(60)
        while True:
            time.sleep(60)
print("up", flush=True)
time.sleep(60)
"""


@dataclass(frozen=True)
class Bench:
    """A driver under test.

    Attributes:
        image: What it needs in `SandboxRequest.image`.
        leftovers: What of a sandbox is still to be found on this host, by its handle: processes, mounts, folders.
    """

    driver: Driver
    agent_dir: Path
    image: str
    leftovers: Callable[[Handle], list[str]]

    def request(self) -> SandboxRequest:
        """A small sandbox with a name of its own."""
        return SandboxRequest(
            name=f"leasebox-conformance-{uuid.uuid4().hex[:12]}",
            profile="default",
            image=self.image,
            limits=LIMITS,
            seccomp="default",
            labels={"leasebox.profile": "default", "leasebox.generation": "7"},
            agent_dir=self.agent_dir,
            preload=(),
            dead_man_s=30.0,
            agent_exit_after_s=120.0,
        )

    @contextmanager
    def sandbox(self, request: SandboxRequest | None = None) -> Iterator[tuple[Handle, Channel, Guest]]:
        """A sandbox whose agent is ready; gone afterwards."""
        handle, channel = self.driver.create(request or self.request())
        try:
            guest = Guest(channel, handle.workspace)
            guest.ready(READY_WITHIN_S)
            yield handle, channel, guest
        finally:
            channel.close()
            self.driver.kill(handle)

    def run(self, code: str) -> Ended:
        """How a program ends in a new sandbox."""
        with self.sandbox() as (_, _, guest):
            return guest.run(code.encode(), _RUN_WITHIN_S)


def runs_a_program(bench: Bench) -> None:
    """A new sandbox runs a program and gives back its output and exit code."""
    ended = bench.run("import sys; print(6 * 7); print('e', file=sys.stderr); sys.exit(3)")

    assert (ended.code, ended.stdout, ended.stderr) == (3, b"42\n", b"e\n"), ended


def keeps_files_between_programs(bench: Bench) -> None:
    """The workspace is one for all programs of a sandbox."""
    with bench.sandbox() as (_, _, guest):
        guest.run(b"open('a', 'w').write('kept')", _RUN_WITHIN_S)
        ended = guest.run(b"print(open('a').read())", _RUN_WITHIN_S)

    assert ended.stdout == b"kept\n", ended


def carries_much_both_ways(bench: Bench) -> None:
    """Nothing is lost or mixed in 12 MiB out and half a MiB in."""
    code = "import sys\nsys.stdout.write('0123456789abcdef' * (12 << 16))\n# " + "x" * (700 << 10)

    ended = bench.run(code)

    assert ended.stdout == b"0123456789abcdef" * (12 << 16), (ended.code, len(ended.stdout), ended.stderr)


def kill_leaves_nothing(bench: Bench) -> None:
    """After kill there is no process, mount, folder or group of it, and it is not listed."""
    with bench.sandbox() as (handle, _, _):
        bench.driver.kill(handle)

        assert bench.leftovers(handle) == []
        assert handle.name not in _names(bench)


def kill_ends_daemons(bench: Bench) -> None:
    """Processes that left their session and ignore SIGTERM end with the sandbox, and its channel says so."""
    with bench.sandbox() as (handle, channel, guest):
        runner = _Background(lambda: guest.run(_DAEMONS.encode(), _RUN_WITHIN_S))
        _until(lambda: bench.driver.stats(handle).pids >= 20)
        bench.driver.kill(handle)

        assert isinstance(runner.outcome(), ChannelClosed | OSError), runner.outcome()
        assert bench.leftovers(handle) == []
        channel.close()


def kill_may_be_repeated(bench: Bench) -> None:
    """Killing what is gone or never was is no error."""
    with bench.sandbox() as (handle, _, _):
        bench.driver.kill(handle)
        bench.driver.kill(handle)

    bench.driver.kill(replace(handle, id="0" * 64, name="never-was"))


def lists_with_labels(bench: Bench) -> None:
    """A living sandbox is listed with the labels it was made with."""
    with bench.sandbox() as (handle, _, _):
        found = [other for other in bench.driver.list() if other.handle.name == handle.name]

    assert [(one.alive, one.labels["leasebox.generation"]) for one in found] == [(True, "7")], found
    assert found[0].handle.id == handle.id


def refuses_a_name_twice(bench: Bench) -> None:
    """A second sandbox of the same name is refused, and the first one lives on."""
    request = bench.request()
    with bench.sandbox(request) as (_, _, guest):
        _raises(StartFailed, lambda: bench.driver.create(request))
        ended = guest.run(b"print('alive')", _RUN_WITHIN_S)

    assert ended.stdout == b"alive\n", ended


def receive_waits_no_longer_than_told(bench: Bench) -> None:
    """None comes back when nothing came."""
    with bench.sandbox() as (_, channel, _):
        assert channel.receive(0.05) is None


def close_wakes_a_receiver(bench: Bench) -> None:
    """A thread that waits in receive is told when another one closes the channel."""
    with bench.sandbox() as (_, channel, _):
        waiting = _Background(lambda: channel.receive(None))
        channel.close()

        assert isinstance(waiting.outcome(), ChannelClosed | OSError), waiting.outcome()


def stats_of_the_dead_say_so(bench: Bench) -> None:
    """Stats of a sandbox that is gone raise SandboxDied; of a living one they are more than nothing."""
    with bench.sandbox() as (handle, _, guest):
        guest.run(b"sum(range(2_000_000))", _RUN_WITHIN_S)
        seen = bench.driver.stats(handle)
        bench.driver.kill(handle)

        assert seen.cpu_s > 0, seen
        assert seen.memory_bytes > 1 << 20, seen
        _raises(SandboxDied, lambda: bench.driver.stats(handle))


def passes_its_own_check(bench: Bench) -> None:
    """`verify` runs a probe and leaves no sandbox behind."""
    before = _names(bench)

    checks = bench.driver.verify(bench.agent_dir)

    assert len(checks) > 10
    assert _names(bench) == before


def bounds_processes(bench: Bench) -> None:
    """Fork is refused near the pids limit, and the agent goes on."""
    with bench.sandbox() as (_, _, guest):
        ended = guest.run(_FORKS.encode(), _RUN_WITHIN_S)
        after = guest.run(b"print('alive')", _RUN_WITHIN_S)

    error, count = ended.stdout.split()
    assert error == b"BlockingIOError", ended
    assert LIMITS.pids - 8 <= int(count) < LIMITS.pids, ended
    assert after.stdout == b"alive\n", after


def bounds_open_files(bench: Bench) -> None:
    """open answers EMFILE near the limit."""
    ended = bench.run(_FILES)

    errno, count = ended.stdout.split()
    assert int(errno) == 24, ended
    assert LIMITS.open_files - 8 <= int(count) < LIMITS.open_files, ended


def bounds_the_disk(bench: Bench) -> None:
    """Writing stops at the size of the workspace."""
    ended = bench.run(_FILL)

    error, mebibytes = ended.stdout.split()
    assert error in (b"ENOSPC", b"EFBIG"), ended
    assert int(mebibytes) <= LIMITS.disk_bytes >> 20, ended


def shows_only_its_own_processes(bench: Bench) -> None:
    """A job sees the agent, itself, and nobody else."""
    ended = bench.run("import os; print(sorted(int(n) for n in os.listdir('/proc') if n.isdigit())[0], os.getppid())")

    assert ended.stdout == b"1 1\n", ended


def shows_no_file_of_the_host(bench: Bench) -> None:
    """The host's folders are not there; the environment has nothing of the worker's."""
    bench_folder = str(bench.agent_dir.parent)
    ended = bench.run(f"import os; print(os.path.exists({bench_folder!r}), sorted(os.environ))")

    assert ended.stdout.startswith(b"False ["), ended
    assert b"LEASEBOX" not in ended.stdout, ended


def bounds_the_number_of_files(bench: Bench) -> None:
    """Making files stops at the inodes of the workspace."""
    ended = bench.run(_MANY_FILES)

    error, count = ended.stdout.split()
    assert error == b"ENOSPC", ended
    assert int(count) <= 8192, ended


def bounds_memory(bench: Bench) -> None:
    """The kernel kills the job at the memory limit and spares the agent; the count of kills shows it."""
    with bench.sandbox() as (handle, _, guest):
        ended = guest.run(_MEMORY.encode(), _RUN_WITHIN_S)
        seen = bench.driver.stats(handle)
        after = guest.run(b"print('alive')", _RUN_WITHIN_S)

    assert ended.signal == 9, ended
    assert seen.oom_kills >= 1, seen
    assert after.stdout == b"alive\n", after


def agent_is_out_of_reach(bench: Bench) -> None:
    """A job can neither signal nor limit nor look into PID 1."""
    ended = bench.run(
        "import os, resource\n"
        "def no(what):\n"
        "    try: what()\n"
        "    except OSError as exc: return type(exc).__name__\n"
        "print(no(lambda: os.kill(1, 9)), no(lambda: resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))),\n"
        "      no(lambda: open('/proc/1/environ').read()), no(lambda: open('/proc/1/mem').read()))"
    )

    assert ended.stdout == b"PermissionError PermissionError PermissionError PermissionError\n", ended


RULES = (
    runs_a_program,
    keeps_files_between_programs,
    carries_much_both_ways,
    kill_leaves_nothing,
    kill_ends_daemons,
    kill_may_be_repeated,
    lists_with_labels,
    refuses_a_name_twice,
    receive_waits_no_longer_than_told,
    close_wakes_a_receiver,
    stats_of_the_dead_say_so,
    passes_its_own_check,
    bounds_processes,
    bounds_open_files,
    bounds_the_disk,
)
ISOLATION_RULES = (shows_only_its_own_processes, shows_no_file_of_the_host)
FULL_RULES = (bounds_the_number_of_files, bounds_memory, agent_is_out_of_reach)


class _Background:
    """Something that blocks, on a thread."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._outcome: object = None
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()

    def _run(self, action: Callable[[], object]) -> None:
        try:
            self._outcome = action()
        except (OSError, StartFailed) as exc:
            self._outcome = exc

    def outcome(self, within_s: float = 10.0) -> object:
        """What it returned or raised."""
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "still blocked"
        return self._outcome


def _names(bench: Bench) -> set[str]:
    return {found.handle.name for found in bench.driver.list()}


def _until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    pause, waited = threading.Event(), 0.0
    while not condition():
        assert waited < within_s, "not true in time"
        pause.wait(0.02)
        waited += 0.02


def _raises(kind: type[Exception], action: Callable[[], object]) -> None:
    try:
        action()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")
