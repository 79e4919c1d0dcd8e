"""How does what somebody writes to a running job reach its program? From the job's stream to the guest, in order."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
import structlog

from leasebox.contract.errors import LeaseLost, SandboxDied
from leasebox.contract.scripts import answers as a
from leasebox_worker.engine.deps import Deps
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.lifecycle.inputs import START, Inputs

log = structlog.get_logger()

PAUSE_S = 0.1
"""Between two tries while Redis does not answer."""


@contextmanager
def live_input(work: a.Work, link: GuestLink, deps: Deps) -> Iterator[None]:
    """While the block lasts, and its program runs, pass on what is written to a job that was submitted for that."""
    if not work.stdin_open or deps.inputs is None:
        yield
        return
    is_over = threading.Event()
    # A thread of its own: the one that carries the job out waits for what the guest says. It is not waited for: what
    # it might still read concerns a job that has ended, for which the link takes nothing any more.
    thread = threading.Thread(
        target=_forward, args=(work, link, deps.inputs, is_over), name=f"stdin {work.job}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()


def _forward(work: a.Work, link: GuestLink, inputs: Inputs, is_over: threading.Event) -> None:
    """Pass input on until its end or the program's.

    The cursor moves when the guest has accepted an entry, and only in this process: a read that is repeated after
    Redis was away begins where it stood, so that nothing is passed on twice.
    """
    place = _Place()
    while not is_over.is_set():
        try:
            if not _pass_on(place, work, link, inputs):
                return
        except redis.RedisError as exc:
            log.warning("input_waits", reason=str(exc))
            is_over.wait(PAUSE_S)
        except (SandboxDied, LeaseLost):
            return  # told by whoever carries the job out


@dataclass(slots=True)
class _Place:
    """How far a job's input has come: what the guest has accepted, and what Redis knows of that."""

    cursor: str = START
    told: str = START
    has_ended: bool = False


def _pass_on(place: _Place, work: a.Work, link: GuestLink, inputs: Inputs) -> bool:
    """Pass on what is there; whether more may come."""
    if place.told != place.cursor:
        inputs.taken(work, place.cursor)
        place.told = place.cursor
    if place.has_ended:
        return False
    for entry in inputs.after(work.job, place.cursor):
        if not link.feed(work.lease, entry.data, is_end=entry.is_end):
            return False
        place.cursor, place.has_ended = entry.id, entry.is_end
    return True
