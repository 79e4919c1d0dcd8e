"""What does a kept interpreter cost beside ipykernel, the interpreter of notebooks, in the same run?

ipykernel is asked in its own process and without any queue: what it takes is its floor. It has an environment of its
own, made when it is first needed; where that cannot be, its figures are left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.memory import memory_of
from tests.bench.stand import ROOT, has_installed

from leasebox.client import Client

ENVIRONMENT = ROOT / ".venv-bench"
KERNEL = "ipykernel==7.4.0"
OURS, OUR_START = "cell `1+1` in a warm stateful session", "first cell of a new interpreter"
STATELESS = "warm job `pass` in a session"
THEIRS, THEIR_START = "ipykernel without a queue: `1+1`", "ipykernel without a queue: start and first cell"
TITLE = "## A kept interpreter beside ipykernel"
WHO_AM_I = "open('/proc/self/stat').read()"
HOST = """
import sys, time
from jupyter_client.manager import start_new_kernel
def run(client, code):
    client.execute(code)
    client.get_shell_msg(timeout=60)
    while client.get_iopub_msg(timeout=60)["content"].get("execution_state") != "idle": pass
manager, client = start_new_kernel(kernel_name="python3")
run(client, "1")
print(manager.provisioner.pid, flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    if line == "cell\\n":
        run(client, "1+1")
    else:
        other, theirs = start_new_kernel(kernel_name="python3")
        run(theirs, "1")
    print(time.perf_counter() - began, flush=True)
    if line != "cell\\n":
        theirs.stop_channels(); other.shutdown_kernel(now=True)
client.stop_channels(); manager.shutdown_kernel(now=True)
"""


class Kernel:
    """A program that hosts an ipykernel and does what is written to it."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.pid = int(self._heard())

    def __call__(self, what: str) -> float:
        """Do a `cell` or a `start`; the seconds that it took."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{what}\n")
        self._child.stdin.flush()
        return float(self._heard())

    def _heard(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline()


@contextmanager
def kernel() -> Iterator[Kernel | None]:
    """A kernel that has run a cell; None where ipykernel cannot be had."""
    if not has_installed(ENVIRONMENT, KERNEL):
        yield None
        return
    python = ENVIRONMENT / "bin" / "python"
    # Its start looks for `python3` among the kernels of its own environment.
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [python, "-c", HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a warning at each start
        text=True,
        env=environment,
    ) as child:
        yield Kernel(child)
        assert child.stdin is not None
        child.stdin.close()


def interpreter_of(client: Client, session: str) -> int:
    """The pid, as this machine sees it, of a session's interpreter: who has its number within, and its start."""
    text = client.run(WHO_AM_I, session=session, stateful=True, check=True, wait_s=60).results[0]["text/plain"]
    told = text.strip("'").rpartition(")")[2].split()
    inner = text.strip("'").split()[0]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            numbers = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("NSpid"))
            if fields[19] == told[19] and numbers.split()[-1] == inner:
                return int(folder.name)
    raise SystemExit("the interpreter is no process of this machine")


def section(client: Client, session: str, kernel: Kernel | None, samples: Mapping[str, list[float]]) -> str:
    """The page's part about interpreters; each has run one trivial cell."""
    client.run("%restart", session=session, stateful=True, check=True, wait_s=60)
    client.run("1", session=session, stateful=True, check=True, wait_s=60)
    ours = memory_of(interpreter_of(client, session))
    theirs = None if kernel is None else memory_of(kernel.pid)
    p50 = {name: statistics.median(values) * 1e3 for name, values in samples.items()}
    pairs = [
        ("cell `1+1`, p50 ms", p50[OURS], p50.get(THEIRS)),
        ("start and first cell, p50 ms", p50[OUR_START], p50.get(THEIR_START)),
        ("memory when idle, PSS MiB", ours.pss, theirs and theirs.pss),
        ("memory when idle, RSS MiB", ours.rss, theirs and theirs.rss),
    ]
    load = f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    return "\n".join(
        [
            f"{len(samples[OUR_START])} rounds taken in turns, {load}.",
            "",
            "| what | ours, through the queue | ipykernel, without a queue | ours against it |",
            "|---|---|---|---|",
            *(f"| {name} | {mine:.1f} | {_beside(mine, other)} |" for name, mine, other in pairs),
            "",
            f"A cell takes {p50[OURS] / p50[STATELESS]:.2f}x the time of a warm stateless job of the same run.",
        ]
    )


def _beside(ours: float, theirs: float | None) -> str:
    return "- | -" if theirs is None else f"{theirs:.1f} | {ours / theirs:.2f}x"
