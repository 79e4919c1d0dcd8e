"""How long does one of each take? Jobs of ours, a stock no-op and the engine's commands, one after the other in rounds.

The machine's speed drifts, so every row is in every round, or in every fifth where one takes long.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import budget, notebook, stock
from tests.bench.budget import quantiles
from tests.bench.stand import ROOT, WITHIN_S, Pool, Report, Size, Stack, has_installed, pause, timed

from leasebox.client import Client, JobHandle

SETTLE_S = 0.02
"""Before each sample: what the row before left to do after its answer is not counted to this one."""
SELDOM, RARELY = 3, 5
"""Each so-manieth round, for what takes long."""
BURST = 50
NOOP = "stock Celery no-op, round trip"
WARM, HIT = notebook.STATELESS, "fresh sandbox on a pool hit"
BURST_ROW = f"{BURST} jobs at once in one session, per job"
SUBMIT = "submit to a worker at rest"
IMPORT = "`import leasebox` and its client, in a new process"
RUN = "`leasebox run` with a warm embedded stack"
CELLS, STARTED_ANEW = "bench-cells", "bench-cells-anew"
"""Sessions of an interpreter that stays, and of one that each sample replaces."""
JUDGED = {
    HIT: budget.POOL_HIT,
    BURST_ROW: budget.BURST,
    notebook.OURS: budget.CELL,
    notebook.OUR_START: budget.INTERPRETER,
    IMPORT: budget.IMPORT,
    RUN: budget.RUN,
}
"""Rows of whose p50 the budget says something."""


def _nothing(_: object = None) -> None:
    """Before and after most rows."""


@dataclass(frozen=True)
class Row:
    """What is timed.

    Attributes:
        before: Done just before each sample, not timed.
        after: Likewise with what was answered.
        times: Samples a round.
        every: Only in each so-manieth round.
        parts: A sample is the time by so many.
        is_timed_within: The action answers with the seconds itself.
    """

    action: Callable[[], object]
    before: Callable[[], object] = _nothing
    after: Callable[[object], object] = _nothing
    times: int = 1
    every: int = 1
    parts: int = 1
    is_timed_within: bool = False

    def sample(self, samples: list[float]) -> None:
        """One time more."""
        answers: list[Any] = []
        self.before()
        pause(SETTLE_S)
        seconds = timed(lambda: answers.append(self.action()))
        samples.append((float(answers[0]) if self.is_timed_within else seconds) / self.parts)
        self.after(answers[0])


Rows = dict[str, Row]


def measure(stacks: list[Stack], size: Size, report: Report, *, cells_only: bool) -> None:
    """Take samples in turns; of the rows of interpreters alone, which takes a part of the time."""
    with ExitStack() as resources:
        kernel = resources.enter_context(notebook.kernel())
        main = stacks[0]
        rows = _cells(main.client, kernel)
        if not cells_only:
            rows |= _jobs(main.client) | _beside(stacks[1:]) | _yardsticks(main, resources)
            rows |= _commands(resources.enter_context(embedded(main.folder / "embedded")))
        samples = _in_turns(rows, [Pool(stack) for stack in stacks], size.rounds)
        report.samples |= samples
        report.cells = notebook.section(main.client, CELLS, kernel, samples)
    for name, figure in JUDGED.items():
        if name in samples:
            report.seen[figure] = quantiles(samples[name]).p50 * 1e3
    if not cells_only:
        warm, noop = quantiles(samples[WARM]), quantiles(samples[NOOP])
        report.seen[budget.WARM_P50], report.seen[budget.WARM_P95] = warm.p50 * 1e3, warm.p95 * 1e3
        report.seen[budget.WARM_RATIO] = warm.p50 / noop.p50


def _in_turns(rows: Rows, pools: list[Pool], rounds: int) -> dict[str, list[float]]:
    for row in rows.values():
        row.sample([])  # warms up: connections, the session's sandbox
    samples: dict[str, list[float]] = {name: [] for name in rows}
    for n in range(rounds):
        for name, row in rows.items():
            for _ in range(row.times if n % row.every == 0 else 0):
                for pool in pools:
                    pool.wait_until_full()  # for each row: no refill runs beside what is measured
                row.sample(samples[name])
    if HIT in rows and any(pool.hits() < rounds for pool in pools):
        raise SystemExit(f"not all of {rounds} jobs found a warm sandbox")
    return samples


def _jobs(client: Client) -> Rows:
    def cold() -> object:  # other limits than the pool's
        return client.run("pass", limits={"pids": 127}, check=True, wait_s=WITHIN_S)

    def burst() -> None:
        handles = [client.submit("pass", session="burst") for _ in range(BURST)]
        for handle in handles:
            _succeeded(handle)

    return {
        WARM: Row(_run(client, session="bench"), times=3),
        "warm command `true` in a session": Row(
            lambda: client.run(command=["true"], session="bench", check=True, wait_s=WITHIN_S)
        ),
        SUBMIT: Row(lambda: client.submit("pass", session="bench"), after=_succeeded, times=3),
        BURST_ROW: Row(burst, every=RARELY, parts=BURST),
        HIT: Row(_run(client)),
        "job with a new sandbox": Row(cold, every=SELDOM),
    }


def _cells(client: Client, kernel: notebook.Kernel | None) -> Rows:
    def cell(code: str, session: str = CELLS) -> Callable[[], object]:
        return lambda: client.run(code, session=session, stateful=True, check=True, wait_s=WITHIN_S)

    rows = {
        notebook.STATELESS: Row(_run(client, session="bench"), times=3),
        notebook.OURS: Row(cell("1+1"), times=3),
        notebook.OUR_START: Row(cell("1", STARTED_ANEW), before=cell("%restart", STARTED_ANEW)),
    }
    if kernel is not None:
        rows[notebook.THEIRS] = Row(lambda: kernel("cell"))
        rows[notebook.THEIR_START] = Row(lambda: kernel("start"), every=RARELY)
    return rows


def _beside(others: list[Stack]) -> Rows:
    """The same on other drivers than the one that the budget is judged by."""
    rows: Rows = {}
    for stack in others:
        rows[f"{WARM}, {stack.driver}"] = Row(_run(stack.client, session="bench"), times=3)
        rows[f"{HIT}, {stack.driver}"] = Row(_run(stack.client))
    return rows


def _yardsticks(stack: Stack, resources: ExitStack) -> Rows:
    rows = {
        NOOP: Row(lambda: stock.noop.delay().get(timeout=WITHIN_S), times=3),
        "bare fork": Row(stock.bare_fork),
        "bare process `python3 -c pass`": Row(stock.bare_process),
    }
    if stock.has_docker():
        name = resources.enter_context(stock.container())
        rows["`docker exec`"] = Row(lambda: stock.docker("exec", name, *stock.PASS), every=SELDOM)
        rows["`docker run --rm`"] = Row(stock.docker_run, every=RARELY)
    return rows


def _commands(environment: dict[str, str]) -> Rows:
    def command(*argv: str) -> Callable[[], object]:
        return lambda: subprocess.run(argv, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout

    return {
        IMPORT: Row(command(str(_INSTALLED / "python"), "-c", _IMPORTS), every=SELDOM, is_timed_within=True),
        RUN: Row(command(str(_INSTALLED / "leasebox"), "run", "-q", "-c", "pass"), every=RARELY),
    }


_IMPORTS = """
import time
began = time.perf_counter()
import leasebox
leasebox.Client  # the package is lazy: what a program that imports it will load is loaded here too
print(time.perf_counter() - began)
"""
_INSTALLED = ROOT / ".venv-installed" / "bin"
"""As a user has it: ours is full of tools, and redis-py loads OpenTelemetry where it finds it."""


@contextmanager
def embedded(home: Path) -> Iterator[dict[str, str]]:
    """The environment of an embedded stack of its own, which ends with the block."""
    if not has_installed(_INSTALLED.parent, "--editable", f"{ROOT}[embedded]"):
        raise SystemExit("the package cannot be installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEASEBOX_")}
    environment["LEASEBOX_HOME"] = str(home)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as pip leaves a package: compiled
    try:
        yield environment
    finally:
        subprocess.run(
            [_INSTALLED / "leasebox", "down"], env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )


def _run(client: Client, **spec: str) -> Callable[[], object]:
    return lambda: client.run("pass", check=True, wait_s=WITHIN_S, **spec)


def _succeeded(handle: object) -> None:
    assert isinstance(handle, JobHandle)
    handle.result(timeout_s=WITHIN_S).raise_for_outcome()
