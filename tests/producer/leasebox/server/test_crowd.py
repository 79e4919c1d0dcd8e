"""Do a thousand watchers of fifty running jobs hear of each event, and does the API stay small?

The delays are printed and not judged: readers, writer, Redis and API share the cores of this machine with its other
load. Judged is what the API itself takes: memory, and processor time for each event that it hands to a watcher.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.processes import is_healthy

from leasebox import Client
from leasebox.config import ClientSettings

pytestmark = pytest.mark.long
JOBS, WATCHERS, EVENTS_PER_S, SECONDS = 50, 1000, 200, 10
MAX_CPU_S, MAX_BYTES = 250e-6, 200 << 20


@pytest.fixture
def api(settings: ClientSettings, eventually: Any) -> Iterator[tuple[int, int]]:
    """Port and process of an API by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        "LEASEBOX_URL": str(settings.url),
        "LEASEBOX_PREFIX": settings.prefix,
        "LEASEBOX_API_PORT": str(port),
    }
    with subprocess.Popen([sys.executable, "-m", "leasebox.server"], env=environment) as process:
        try:
            eventually(lambda: is_healthy(f"http://127.0.0.1:{port}"), within_s=60)
            yield port, process.pid
        finally:
            process.terminate()


async def watch(port: int, job: str, begun: asyncio.Semaphore, delays: list[float]) -> int:
    """Read one stream to its end; how many outputs it had. Each output is the time at which it was written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    seen = 0
    while line := await reader.readline():
        if line.startswith(b"event: started"):
            begun.release()
        elif line.startswith(b"data: ") and b'"text"' in line:
            delays.append(time.time() - float(json.loads(line[6:])["text"]))
            seen += 1
        elif line.startswith(b"event: finished"):
            break
    writer.close()
    return seen


async def test_a_thousand_watchers_hear_everything_from_a_small_process(
    api: tuple[int, int], client: Client, played: Any
):
    port, pid = api
    works = [played.begin(client.submit("1").id) for _ in range(JOBS)]
    begun, delays = asyncio.Semaphore(0), []
    watching = [asyncio.create_task(watch(port, works[n % JOBS].job, begun, delays)) for n in range(WATCHERS)]
    for _ in range(WATCHERS):
        await begun.acquire()

    rest = threading.Event()

    def write() -> None:
        began = time.monotonic()
        for n in range(EVENTS_PER_S * SECONDS):
            rest.wait(max(0.0, began + n / EVENTS_PER_S - time.monotonic()))
            played.write(works[n % JOBS], ("stdout", b"%.6f" % time.time()))
        for work in works:
            played.end(work)

    before = cpu_s(pid)
    await asyncio.to_thread(write)
    seen = await asyncio.gather(*watching)
    peak, each_s = peak_bytes(pid), (cpu_s(pid) - before) / len(delays)
    cuts = statistics.quantiles(delays, n=100)
    delay = ", ".join(f"p{n} {cuts[n - 1] * 1000:.1f} ms" for n in (50, 95, 99))
    print(f"{delay}; {each_s * 1e6:.0f} us of processor for each, {peak >> 20} MiB")

    assert seen == [EVENTS_PER_S * SECONDS // JOBS] * WATCHERS
    assert peak <= MAX_BYTES
    assert each_s <= MAX_CPU_S


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had, by proc(5)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
