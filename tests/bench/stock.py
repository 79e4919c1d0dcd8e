"""What does everybody have already? A stock Celery no-op and the engine's own commands, as yardsticks of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from celery import Celery

APP = Celery("stock")
IMAGE = "leasebox/python"
PASS = ("python3", "-c", "pass")


@APP.task(name="stock.noop")  # type: ignore[untyped-decorator]
def noop() -> int:
    """What the stock worker runs."""
    return 42


def celery_argv(url: str) -> list[str]:
    """A worker with Celery's own settings; it finds this file by `PYTHONPATH`."""
    APP.conf.update(broker_url=url, result_backend=url)
    broker = ["-b", url, "--result-backend", url]
    return [sys.executable, "-m", "celery", *broker, "-A", "stock:APP", "worker", "-c", "2", "-l", "WARNING"]


def has_docker() -> bool:
    """Whether an engine answers and has the image."""
    try:
        return not docker_status("image", "inspect", IMAGE)
    except FileNotFoundError:
        return False


def docker(*arguments: str) -> str:
    """What the engine's client prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def docker_status(*arguments: str) -> int:
    """Its exit status."""
    return subprocess.run(["docker", *arguments], capture_output=True).returncode


def docker_run() -> None:
    """One container for one program."""
    docker("run", "--rm", "--network", "none", IMAGE, *PASS)


@contextmanager
def container() -> Iterator[str]:
    """A container in which programs are started by `docker exec`."""
    name = docker("run", "--rm", "-d", "--network", "none", "--init", IMAGE, "sleep", "3600")
    try:
        yield name
    finally:
        docker("rm", "-f", name)


def plain_bwrap() -> None:
    """One set of namespaces for one program: no agent, no limits, no filter."""
    # Here, because the stock worker imports this file as well.
    from leasebox_worker.drivers.bubblewrap_checks import find_program

    shared = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    bare_process((str(find_program()), "--unshare-all", "--die-with-parent", *shared, "/usr/bin/python3", *PASS[1:]))


def bare_process(argv: Sequence[str] = ("/usr/bin/python3", *PASS[1:])) -> None:
    """A program without any sandbox."""
    subprocess.run(argv, check=True)


def bare_fork() -> None:
    """The least that a new process can cost: this one's, which ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


HERE = {"PYTHONPATH": str(Path(__file__).parent)}
