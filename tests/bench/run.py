"""Is the budget of speed met, beside a stock Celery no-op, `docker run`, `docker exec` and a bare fork of the same run?

Usage: python tests/bench/run.py [--jobs N] [--driver docker|bubblewrap] [--cells] [--smoke] [--json [FILE]]
Starts private servers, a stock Celery worker and a Leasebox worker for each driver, takes turns between them (the
machine's speed drifts: only ratios of one run count), prints the page and writes it to docs/benchmarks.md. A benchmark,
not a test: it judges the budget and ends with 0 all the same.

| part | room |
|---|---|
| one at a time | `turns`, with `notebook` for interpreters and `stock` for what others have |
| many at once | `throughput` |
| output, memory, what Redis is asked | `output`, `memory`, `redis_use` |
| the budget, the page | `budget`, `page` |
| by a word of their own | `many`, `mixed`, `waterfall`, `hardening`, `neighbours`, `watchers`; by hand: `preload` |
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import memory, output, page, redis_use, stock, throughput, turns
from tests.bench.stand import ROOT, SMOKE, Report, Size, Stack, process, stack

PAGE = ROOT / "docs" / "benchmarks.md"
BY_THEMSELVES = {
    "many": "20,000 jobs (or --jobs N) and what then is left in memory; no page",
    "mixed": "short jobs beside long ones, and what a model of the queue predicts; no page",
    "waterfall": "where each millisecond of one warm job goes; no page",
    "hardening": "with and without seccomp and limits; no page",
    "neighbours": "an honest session beside attacks; no page",
    "watchers": "1,000 who follow 50 jobs for N seconds; no page",
}


def measure(drivers: list[str], size: Size, *, cells_only: bool) -> Report:
    """Everything, part by part."""
    report = Report()
    with ExitStack() as resources:
        stacks = [resources.enter_context(stack(driver)) for driver in drivers]
        main = stacks[0]
        log = main.folder / "stock.log"
        resources.enter_context(process(stock.celery_argv(main.url), stock.HERE, log))
        _part("one at a time", lambda: turns.measure(stacks, size, report, cells_only=cells_only))
        if not cells_only:
            _the_others(stacks, size, report)
    return report


def _the_others(stacks: list[Stack], size: Size, report: Report) -> None:
    main = stacks[0]
    if "docker" in (names := [stack.driver for stack in stacks]):
        _part("an idle sandbox", lambda: memory.idle_sandbox(stacks[names.index("docker")], size, report))
    _part("commands of a job", lambda: redis_use.commands(main, size, report))
    _part("output", lambda: output.measure(main, size, report))
    _part("submits", lambda: redis_use.submits(size, report))
    _part("many at once", lambda: throughput.measure(stacks, size, report))


def _part(name: str, action: Callable[[], object]) -> None:
    began = time.monotonic()
    action()
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, help="rounds, 50 unless told")
    parser.add_argument("--driver", default="bubblewrap", choices=["docker", "bubblewrap"])
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="also as JSON; without FILE alone, on stdout"
    )
    parser.add_argument("--smoke", action="store_true", help="a little of each part, to see that it runs; no page")
    parser.add_argument(
        "--cells", action="store_true", help="only the rows of interpreters, and their part of the page"
    )
    for name, told in BY_THEMSELVES.items():
        parser.add_argument(f"--{name}", action="store_true", help=told)
    return parser.parse_args()


def main() -> int:
    """Measure, print, write the page."""
    given = arguments()
    for name in BY_THEMSELVES:
        if getattr(given, name):
            room = import_module(f"tests.bench.{name}")
            print(room.measure(given.jobs or room.JOBS, given.driver))
            return 0
    size = SMOKE if given.smoke else Size()
    size = replace(size, rounds=given.jobs or size.rounds)
    drivers = [given.driver]
    if not given.cells and stock.has_docker():
        drivers = [given.driver, *({"bubblewrap", "docker"} - {given.driver})]
    report = measure(drivers, size, cells_only=given.cells)
    text = page.with_cells(PAGE.read_text(), report) if given.cells else page.page(report, drivers, size)
    found = json.dumps(page.as_json(report, drivers), indent=1)
    if given.json not in (None, "-"):
        Path(given.json).write_text(found + "\n")
    print(found if given.json == "-" else page.cells(report) if given.cells else text)
    if given.smoke:
        print("so little of each part runs: the figures and verdicts above mean nothing", file=sys.stderr)
    elif given.json != "-":
        PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
