"""What do seccomp and limits cost a warm job? Two sandboxes of one driver, with and without them, taking turns.

Usage: python tests/bench/run.py --hardening [--jobs N] [--driver docker|bubblewrap]
Without: no filter, no cgroup limits, no rlimits, no masks. There is no setting for that, only this plant of the tests.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.worker.drivers.planted import (
    Config,
    PlantedBubblewrap,
    PlantedDocker,
    settings_of,
    without_option,
    without_words,
)

from leasebox_guest.install import install
from leasebox_worker.drivers.base import Driver, DriverSettings, SandboxRequest
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.drivers.one_job import Guest
from leasebox_worker.drivers.spawn import Launch
from leasebox_worker.drivers.verify import PROBE_LIMITS

JOBS = 100
PROGRAMS = {"warm job `pass`": b"pass", "warm job, 20,000 calls": b"import os\nfor _ in range(20000): os.getppid()"}


def bare_container(body: Config) -> None:
    """The same container without its locks."""
    without_option("seccomp")(body)
    config = body["HostConfig"]
    assert isinstance(config, dict)
    config["SecurityOpt"].append("seccomp=unconfined")
    settings_of(Memory=0, MemorySwap=0, NanoCpus=0, PidsLimit=0, Ulimits=[], MaskedPaths=[], ReadonlyPaths=[])(body)


def bare_namespaces(launch: Launch) -> Launch:
    """The same namespaces without filter and limits."""
    return replace(without_words("--seccomp", 2)(launch), groups=[], ulimits={})


def sandbox(driver: Driver, agent_dir: Path, stack: ExitStack) -> Guest:
    """A sandbox that is ready; ends with the stack."""
    name = f"leasebox-bench-{driver.name}-{id(driver):x}"
    image = "leasebox/python" if driver.name == "docker" else ""
    request = SandboxRequest(name, "bench", image, PROBE_LIMITS, "default", {}, agent_dir, (), 120.0, 300.0)
    handle, channel = driver.create(request)
    stack.callback(driver.close)
    stack.callback(driver.kill, handle)
    stack.callback(channel.close)
    guest = Guest(channel, handle.workspace)
    guest.ready(30.0)
    return guest


def measure(jobs: int, driver: str) -> str:
    """The table, ready to print."""
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbh-", dir="/tmp"))) for _ in range(3)]
        for folder in folders:
            folder.chmod(0o755)
        agent_dir = install(folders[0], None)
        settings = [DriverSettings("bench", "bench", folder) for folder in folders[1:]]
        drivers: list[Driver] = (
            [DockerDriver(settings[0]), PlantedDocker(settings[1], bare_container)]
            if driver == "docker"
            else [BubblewrapDriver(settings[0]), PlantedBubblewrap(settings[1], bare_namespaces)]
        )
        guests = [sandbox(made, agent_dir, stack) for made in drivers]
        lines = [
            f"driver {driver}, {jobs} rounds taken in turns, p50 in ms",
            "",
            "| what | with | without | ratio of a pair: median (quartiles) |",
        ]
        lines.append("|---|---|---|---|")
        for name, code in PROGRAMS.items():
            samples: list[list[float]] = [[], []]
            turns = list(zip(guests, samples, strict=True))
            for _ in range(jobs):
                turns.reverse()  # who comes second finds a busier or an idler machine
                for guest, found in turns:
                    began = time.perf_counter()
                    assert guest.run(code, 30.0).code == 0
                    found.append(time.perf_counter() - began)
            hard, bare = (statistics.median(found) * 1e3 for found in samples)
            pairs = sorted(with_ / without for with_, without in zip(*samples, strict=True))
            low, middle, high = statistics.quantiles(pairs, n=4)
            lines.append(f"| {name} | {hard:.2f} | {bare:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join(lines)
