"""What is asked of Redis? The commands of one job, by MONITOR, and 10,000 submits at once."""

from __future__ import annotations

import statistics
import threading
from collections import Counter

from tests.bench import budget
from tests.bench.stand import WITHIN_S, Report, Size, Stack, connection, pause, timed, valkey

import leasebox
from leasebox.contract.spec import JobSpec

MARK = "bench-mark"


def commands(stack: Stack, size: Size, report: Report) -> None:
    """How many commands client and worker send for a warm job, and which; the median tells heartbeats apart."""
    jobs = 3 + 3 * min(size.rounds, 10)
    heard: list[Counter[str]] = []
    is_listening = threading.Event()

    def listen() -> None:
        with connection(stack.url).monitor() as monitor:
            is_listening.set()
            for command in monitor.listen():
                words = command["command"].split()
                if words[0] == "ECHO":
                    heard.append(Counter())
                    if words[-1] == "end":
                        return
                elif heard and command["client_type"] != "lua":
                    heard[-1][words[0]] += 1

    thread = threading.Thread(target=listen)
    thread.start()
    is_listening.wait(WITHIN_S)
    for _ in range(jobs):
        stack.redis.echo(MARK)
        stack.client.run("print(6 * 7)", session="bench-commands", check=True, wait_s=WITHIN_S)
        pause(0.05)  # what comes after the answer belongs to the job too
    stack.redis.echo(f"{MARK} end")
    thread.join(WITHIN_S)
    if thread.is_alive():
        raise SystemExit("MONITOR did not show the end of the jobs in time")
    counted = heard[1:-1]  # the first made the session
    median = statistics.median(sum(job.values()) for job in counted)
    report.seen[budget.COMMANDS] = median
    typical = next(job for job in counted if sum(job.values()) == int(median))
    told = ", ".join(f"{n} {name}" for name, n in sorted(typical.items()))
    report.notes.append(f"A warm job's commands: {told}.")


def submits(size: Size, report: Report) -> None:
    """One after another, then many in one call, to a server with which nobody works, each time a new one."""
    specs = [JobSpec(code="pass") for _ in range(size.many)]
    singles, found = list[float](), list[float]()
    for _ in range(size.turns):
        with valkey() as (url, _), leasebox.Client(url) as client:
            client.submit("pass")  # connections and scripts
            singles += [timed(lambda: client.submit("pass")) for _ in range(size.rounds)]
            found.append(timed(lambda: client.submit_many(specs)))
    report.samples["submit, one after another"] = singles
    report.seen[budget.SUBMIT] = statistics.median(singles) * 1e3
    report.samples[f"submit_many of {size.many:,}"] = found
    report.seen[budget.SUBMIT_MANY] = statistics.median(found)
