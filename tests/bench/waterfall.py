"""Where does each millisecond of one warm job go: client, Redis, Celery, scripts, channel, program, settle?

Usage: python tests/bench/run.py --waterfall [--jobs N] [--driver docker|bubblewrap]
A worker notes its steps (`marked_worker`), this process those of the client, and the program prints when it began. What
is told is the median over the fastest quarter of the jobs: the others met something else on the machine.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.bench import marked_worker
from tests.bench.memory import descendants
from tests.bench.stand import Stack, pause, stack

from leasebox.contract.scripts import Runner
from leasebox.contract.scripts.call import sha

JOBS = 200
PAUSE_S = 0.005
"""Between two jobs."""
SCRIPTS = ("submit", "acquire", "start", "emit", "settle")
SESSION = "bench-waterfall"
CODE = "import time; print(time.monotonic_ns())"
STEPS = (
    ("submit", "begin", "client: check the spec, make the record"),
    ("submit", "end", "client: script `submit`, one trip"),
    ("message", "begin", "Redis wakes the worker's `BRPOP`; this can be before the client has its answer"),
    ("job", "begin", "kombu and Celery decode the message and hand it to a thread"),
    ("acquire", "begin", "a place, a lease id"),
    ("acquire", "end", "script `acquire`"),
    ("start", "begin", "admission, the session's sandbox"),
    ("start", "end", "script `start`"),
    ("order", "end", "the order goes into the channel"),
    ("program", "begin", "agent: the waiting process becomes `main.py`, up to its first statement"),
    ("exit", "end", "the program, the end of its interpreter, the look that nothing is left; `emit` runs meanwhile"),
    ("settle", "begin", "what the kernel counted, the Result"),
    ("settle", "end", "script `settle`"),
    ("finished", "end", "the client's `XREAD` answers; this can be before the worker has its answer"),
)
Marks = dict[tuple[str, str], int]
"""When a step of one job began or ended, in nanoseconds."""


def measure(jobs: int, driver: str) -> str:
    """The table, ready to print."""
    with tempfile.NamedTemporaryFile() as marks, stack(driver, (marked_worker.__file__, marks.name)) as made:
        made.client.run(CODE, session=SESSION, check=True, wait_s=60)
        sink = os.open(marks.name, os.O_WRONLY | os.O_APPEND)
        marked_worker.marked(Runner, "run", lambda _, __, call: "submit" if call.script == "submit" else "", sink)
        made.redis.config_set("slowlog-max-len", 100_000)
        made.redis.config_set("slowlog-log-slower-than", 0)
        spent = Spent(made)
        found = [_one(made) for _ in range(jobs)]
        made.redis.config_set("slowlog-log-slower-than", -1)
        told = spent.since()
        _assign(found, Path(marks.name).read_text().splitlines())
        inside = _inside_redis(made)
    return "\n\n".join([table(found, inside), _processors(told, jobs)])


def _one(made: Stack) -> Marks:
    pause(PAUSE_S)
    began = time.monotonic_ns()
    result = made.client.run(CODE, session=SESSION, check=True, wait_s=60)
    marks = {("call", "begin"): began, ("finished", "end"): time.monotonic_ns()}
    return marks | {("program", "begin"): int(result.stdout)}


def _assign(jobs: list[Marks], lines: list[str]) -> None:
    """Each noted step goes to the job that was under way: they came one after the other."""
    begins = [job["call", "begin"] for job in jobs]
    for line in lines:
        name, began, ended = line.split()
        place = bisect_left(begins, int(ended)) - 1
        if place >= 0:
            jobs[place].setdefault((name, "begin"), int(began))
            jobs[place].setdefault((name, "end"), int(ended))


def table(jobs: list[Marks], inside: Mapping[str, float]) -> str:
    """From when to when each step lasts, in ms since the call."""
    jobs = [job for job in jobs if all((name, end) in job for name, end, _ in STEPS)]
    jobs.sort(key=lambda job: job["finished", "end"] - job["call", "begin"])
    fastest = jobs[: max(1, len(jobs) // 4)]
    lines = ["| from ms | to ms | what | of it inside Redis |", "|---|---|---|---|"]
    at = 0.0
    for name, end, what in STEPS:
        until = statistics.median(job[name, end] - job["call", "begin"] for job in fastest) / 1e6
        redis = f"{inside[name]:.2f}" if end == "end" and name in inside else ""
        lines.append(f"| {at:.1f} | {until:.1f} | {what} | {redis} |")
        at = until
    return "\n".join([f"Medians of the fastest {len(fastest)} of {len(jobs)} jobs.", "", *lines])


def _inside_redis(made: Stack) -> dict[str, float]:
    """Milliseconds that Redis itself needs for each script, median."""
    names = {sha(name): name for name in SCRIPTS}
    found: dict[str, list[float]] = defaultdict(list)
    for entry in made.redis.slowlog_get(100_000):
        words = entry["command"].decode(errors="replace").split()
        if words[0] == "EVALSHA" and words[1] in names:
            found[names[words[1]]].append(entry["duration"] / 1e3)
    return {name: statistics.median(values) for name, values in found.items()}


class Spent:
    """Processor time of everybody who works for the jobs."""

    def __init__(self, made: Stack) -> None:
        self._made = made
        self._before = self._now()

    def since(self) -> dict[str, float]:
        """Seconds, since this was made."""
        return {who: spent - self._before[who] for who, spent in self._now().items()}

    def _now(self) -> dict[str, float]:
        worker = self._made.worker.pid
        server = self._made.redis.info("server")["process_id"]
        sandboxes = sum(_processor_s(pid, children=True) for pid in descendants(worker))
        client, work = _processor_s(os.getpid()), _processor_s(worker)
        return {"client": client, "worker": work, "Redis": _processor_s(server), "sandbox": sandboxes}


def _processor_s(pid: int, *, children: bool = False) -> float:
    """User and system time of a process, and of the children that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11 : 15 if children else 13]) / os.sysconf("SC_CLK_TCK")


def _processors(spent: Mapping[str, float], jobs: int) -> str:
    each = ", ".join(f"{who} {seconds / jobs * 1e3:.1f}" for who, seconds in spent.items())
    return f"Processor time of a job, ms: {each}; {sum(spent.values()) / jobs * 1e3:.1f} in all."
