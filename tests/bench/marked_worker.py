"""A worker that writes down when each step of a job begins and ends; `waterfall` starts it.

Usage: python tests/bench/marked_worker.py FILE run ...
A line is a step, its begin and its end in nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

SCRIPTS = ("acquire", "start", "emit", "settle")


def marked(owner: Any, method: str, name_of: Callable[..., str], sink: int) -> None:
    """Replace a method by one that notes when it begins and ends; `name_of` sees what it answered and was given."""
    plain = getattr(owner, method)

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic_ns()
        answer = plain(*args, **kwargs)
        if name := name_of(answer, *args):
            os.write(sink, f"{name} {began} {time.monotonic_ns()}\n".encode())
        return answer

    setattr(owner, method, timed)


def read_name(messages: list[object], *_: object) -> str:
    """Of what the agent says only the program's end is told."""
    said = {type(message).__name__ for message in messages}
    return "exit" if "Exited" in said else ""


def mark_all(sink: int) -> None:
    """All steps of a job, as far as the worker's process does them."""
    from kombu.transport.redis import Channel

    from leasebox.contract.scripts import Runner
    from leasebox_worker import tasks
    from leasebox_worker.guestlink.link import GuestLink

    marked(Channel, "_brpop_read", lambda *_: "message", sink)
    marked(tasks, "run_job", lambda *_: "job", sink)
    marked(Runner, "run", lambda _, __, call: call.script if call.script in SCRIPTS else "", sink)
    marked(GuestLink, "execute", lambda *_: "order", sink)
    marked(GuestLink, "read", read_name, sink)


def main() -> None:
    """Mark, then be a worker."""
    from leasebox_worker import cli, config

    config.name_celery_pool("leasebox_worker.celery_pool:TaskPool")  # as the command does, before Celery is imported
    mark_all(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    cli.main()


if __name__ == "__main__":
    main()
