"""Do 20,000 warm jobs at full speed leave anything behind? An error, or memory of worker, API, agents or Redis.

Usage: python tests/bench/run.py --many [--jobs N] [--driver docker|bubblewrap]
A few sessions have work all the time, one of them through the API. Results expire after seconds. What is compared is
the memory after the first tenth of the jobs and after the last one, each time when results and events have expired.
Anonymous memory is what counts: pages of files are shared with whatever else runs on the machine.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.bench.memory import descendants, memory_of
from tests.bench.stand import MIB, Stack, pause, process, stack, wait_until
from tests.bench.watchers import api_port, wait_until_healthy

import leasebox
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.spec import JobSpec

JOBS = 20_000
SESSIONS = 4
BLOCK = 50
"""Jobs that a session has in the queue at a time."""
TTL_S = 5.0
IDLE_S = 12.0
"""Until agents have given back the memory of the next job."""
PARTS = 10
FLAT = 1.05
"""Growth beyond it is a leak."""
NEWEST, AUDIT = "Redis, the newest 10,000 jobs of a tenant", "Redis, the newest 100,000 entries of the audit log"
"""Lists that grow up to there by design, and no further."""
Sample = dict[str, float]


def measure(jobs: int, driver: str) -> str:
    """The table, ready to print; it says whether all is flat."""
    with ExitStack() as resources:
        made = resources.enter_context(stack(driver))
        environment = {
            "LEASEBOX_URL": made.url,
            "LEASEBOX_RESULT_TTL_S": str(TTL_S),
            "LEASEBOX_EVENTS_TTL_S": str(TTL_S),
        }
        port = api_port(environment)
        argv = [sys.executable, "-m", "leasebox.server"]
        api = resources.enter_context(process(argv, environment, made.folder / "api.log"))
        wait_until_healthy(port)
        urls = [made.url] * (SESSIONS - 1) + [f"http://127.0.0.1:{port}"]
        clients = [resources.enter_context(_client(url)) for url in urls]
        look = Look(made, api.pid)
        samples = [look.at_rest()]
        spent_s = 0.0
        share = max(1, jobs // PARTS // (SESSIONS * BLOCK)) * SESSIONS * BLOCK
        for part in range(1, PARTS + 1):
            began = time.monotonic()
            outcomes = _run(clients, share)
            spent_s += time.monotonic() - began
            assert set(outcomes) == {"ok"}, outcomes
            samples.append(look.at_rest() if part in (1, PARTS) else look.now())
            print(f"{part * share} jobs, {share * part / spent_s:.0f} a second", file=sys.stderr, flush=True)
        return table(samples, PARTS * share, spent_s) + "\n\n" + look.keys()


@contextmanager
def _client(url: str) -> Iterator[leasebox.Client]:
    with leasebox.Client(settings=ClientSettings(url=url, result_ttl_s=TTL_S, events_ttl_s=TTL_S)) as client:
        yield client


def _run(clients: list[leasebox.Client], jobs: int) -> Counter[str]:
    """So many jobs over all sessions, as fast as they go; how they ended."""
    outcomes: Counter[str] = Counter()

    def play(client: leasebox.Client, session: str) -> None:
        for _ in range(jobs // SESSIONS // BLOCK):
            specs = [JobSpec(code=f"print({n})", session=session) for n in range(BLOCK)]
            outcomes.update(_ended(handle) for handle in client.submit_many(specs))

    threads = [threading.Thread(target=play, args=(client, f"many-{n}")) for n, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.total() == jobs, f"{outcomes.total()} of {jobs} jobs have ended"
    return outcomes


def _ended(handle: leasebox.JobHandle) -> str:
    return str(handle.result(timeout_s=120).outcome)


class Look:
    """What everything holds, in MiB, and how many keys there are."""

    def __init__(self, made: Stack, api: int) -> None:
        self._stack = made
        self._api = api
        self._before = self._results()

    def at_rest(self) -> Sample:
        """When what has ended has expired."""
        pause(max(IDLE_S, TTL_S))
        wait_until(lambda: self._results() <= self._before, "results expire", step_s=0.2)
        return self.now()

    def now(self) -> Sample:
        """In the middle of the work."""
        worker, server = self._stack.worker.pid, self._stack.redis
        keys = Keys()
        bounded = {
            NEWEST: (server.memory_usage(keys.recent("default"), samples=0) or 0) / MIB,
            AUDIT: (server.memory_usage(keys.audit(), samples=0) or 0) / MIB,
        }
        return {
            "worker": memory_of(worker).anonymous,
            "API": memory_of(self._api).anonymous,
            "sandboxes": sum(memory_of(pid).anonymous for pid in descendants(worker)),
            "Redis, all else": server.info("memory")["used_memory"] / MIB - sum(bounded.values()),
            **bounded,
            "keys, their number": float(server.dbsize()),
        }

    def _results(self) -> int:
        return len(self._stack.redis.keys("celery-task-meta-*"))

    def keys(self) -> str:
        """What is left in Redis, the largest first."""
        client = self._stack.redis
        sizes = {name: client.memory_usage(name, samples=0) or 0 for name in client.scan_iter()}
        largest = sorted(sizes, key=lambda name: -sizes[name])[:12]
        return "Left in Redis: " + ", ".join(f"{name.decode()} {sizes[name]}" for name in largest)


def table(samples: list[Sample], jobs: int, spent_s: float) -> str:
    """A row for each who holds memory: at the start, after the first tenth, on the way, and at the end."""
    lines = [
        f"{jobs} jobs in {SESSIONS} sessions, {jobs / spent_s:.0f} a second, no error.",
        "",
        "| MiB of | new | after a tenth, at rest | most on the way | after all, at rest | growth |",
        "|---|---|---|---|---|---|",
    ]
    flat = True
    for name in samples[0]:
        new, first, *way, last = (sample[name] for sample in samples)
        growth = "bounded" if name in (NEWEST, AUDIT) else f"{last / first - 1:+.1%}"
        flat = flat and (last <= first * FLAT or growth == "bounded")
        lines.append(f"| {name} | {new:.1f} | {first:.1f} | {max(way):.1f} | {last:.1f} | {growth} |")
    return "\n".join([*lines, "", f"Flat within {FLAT - 1:.0%}: {'yes' if flat else '**no**'}."])
