"""How many jobs a second? On warm sessions, and with a new sandbox for each, beside what the engine itself can do.

A turn is one side after the other; a ratio is the median of the turns' ratios. Rates of new sandboxes are those of the
steady state: from the end of the first jobs, which had the pool's, to the end of the last.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench import budget, stock
from tests.bench.stand import WITHIN_S, Pool, Report, Size, Stack, pause, timed

from leasebox.contract.spec import JobSpec, Limits
from leasebox_guest.install import install
from leasebox_worker.drivers.base import DriverSettings, SandboxRequest
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.engine.refill import probe
from leasebox_worker.engine.sandboxes import Sandbox, sandbox_limits
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.policy.profiles import BUILT_IN

SANDBOXES = 3
"""As many as the bare agent was measured with; beyond, two cores give no more."""
AT_ONCE = 4
LIVES_OF_BUBBLEWRAP = 3
"""Times as many as of Docker, so that a turn takes about as long."""
REST_S = 0.3
"""Between two sides: what is still being ended belongs to nobody."""
Side = Callable[[], float]


def measure(stacks: list[Stack], size: Size, report: Report) -> None:
    """All rates that the engines at hand allow."""
    by_driver = {stack.driver: stack for stack in stacks}
    for driver, stack in by_driver.items():
        _warm(stack, size, report, is_judged=driver == list(by_driver)[-1])
    if (stack := by_driver.get("docker")) is not None:
        sides = {
            "new Docker sandbox each": _lives(stack, size.lives),
            "`docker run --rm`": _each(size.lives, stock.docker_run),
        }
        _, ratio = _turns(sides, size.turns, report)
        report.seen[budget.DOCKER_RATIO] = ratio
    if (stack := by_driver.get("bubblewrap")) is not None:
        count = size.lives * LIVES_OF_BUBBLEWRAP
        sides = {"new bubblewrap sandbox each": _lives(stack, count), "plain `bwrap`": _each(count, stock.plain_bwrap)}
        report.seen[budget.BUBBLEWRAP_RATE], _ = _turns(sides, size.turns, report)


def _warm(stack: Stack, size: Size, report: Report, *, is_judged: bool) -> None:
    """On warm sessions; with Docker beside the bare agent, on the same image in the same hour."""
    with ExitStack() as resources:
        sides = {f"warm sessions, {stack.driver}": _sessions(stack, size.jobs)}
        if stack.driver == "docker":
            sides["bare agent over attach"] = _agents(resources.enter_context(guests()), size.jobs)
        rate, ratio = _turns(sides, size.turns, report)
    if is_judged:
        report.seen[budget.WARM_RATE] = rate
    if len(sides) > 1:
        report.seen[budget.WARM_RATE_RATIO] = ratio


def _turns(sides: dict[str, Side], turns: int, report: Report) -> tuple[float, float]:
    """The median rate of the first side, and its median ratio to the last one of the same turn."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(turns):
        for name in order:
            pause(REST_S)
            found[name].append(sides[name]())
        order.reverse()  # who comes second finds a busier or an idler machine
    report.rates |= {f"{name}, jobs/s": rates for name, rates in found.items()}
    first, last = found[next(iter(found))], list(found.values())[-1]
    return statistics.median(first), statistics.median(ours / theirs for ours, theirs in zip(first, last, strict=True))


def _sessions(stack: Stack, jobs: int) -> Side:
    """Some sessions that have all to do at once; every result is read."""
    specs = [JobSpec(code="pass", session=f"rate-{n % SANDBOXES}") for n in range(jobs)]

    def run(specs: list[JobSpec]) -> None:
        for handle in stack.client.submit_many(specs):
            handle.result(timeout_s=WITHIN_S).raise_for_outcome()

    run(specs[:SANDBOXES])
    return lambda: jobs / timed(lambda: run(specs))


def _agents(guests: list[Sandbox], jobs: int) -> Side:
    """The agents of some containers and one thread for each, nothing between them."""

    def serve(guest: Sandbox) -> None:
        for _ in range(jobs // SANDBOXES):
            probe(guest)  # the same `pass`, by the same hands

    def run() -> None:
        with ThreadPoolExecutor(SANDBOXES) as threads:
            list(threads.map(serve, guests))

    return lambda: jobs // SANDBOXES * SANDBOXES / timed(run)


@contextmanager
def guests() -> Iterator[list[Sandbox]]:
    """Sandboxes as the Docker worker makes them, with nothing but their channels."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="lbt-", dir="/tmp")))
        folder.chmod(0o755)
        agent_dir = install(folder, platform.python_version())
        driver = DockerDriver(DriverSettings(f"bench-{folder.name}", "bench", folder))
        resources.callback(driver.close)
        profile = BUILT_IN["default"]
        limits = effective_limits(Limits(), profile, node_cpus=float(os.cpu_count() or 1))
        made = []
        for n in range(SANDBOXES):
            name = f"leasebox-{folder.name}-{n}"
            shape = (profile.image, sandbox_limits(limits), profile.seccomp, {}, agent_dir, profile.preload)
            handle, channel = driver.create(
                SandboxRequest(name, "bench", *shape, dead_man_s=300, agent_exit_after_s=900)
            )
            resources.callback(driver.kill, handle)
            resources.callback(channel.close)
            made.append(Sandbox(name, handle, GuestLink(channel), limits))
            made[-1].link.open(WITHIN_S)
        yield made


def _lives(stack: Stack, count: int) -> Side:
    """Jobs without a session: each has a sandbox of its own, which ends with it."""

    def run() -> float:
        Pool(stack).wait_until_full()
        return _steady(count, lambda: stack.client.run("pass", check=True, wait_s=WITHIN_S))

    return run


def _each(count: int, action: Callable[[], object]) -> Side:
    return lambda: _steady(count, action)


def _steady(count: int, action: Callable[[], object]) -> float:
    """How many a second of `count` that are done some at a time, after the first ones."""

    def ended(_: int) -> float:
        action()
        return time.monotonic()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        ends = sorted(threads.map(ended, range(count)))
    first = min(AT_ONCE, count // 2)
    return (count - first) / (ends[-1] - ends[first - 1])
