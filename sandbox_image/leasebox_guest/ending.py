"""What is there still to do when every process of a job is dead? Read what it wrote last, and wipe what it left."""

from __future__ import annotations

import os
import time

from leasebox_guest import wipe
from leasebox_guest.cell import ChannelBroken
from leasebox_guest.channel import PORTION_BYTES, Channel
from leasebox_guest.frames import Kind
from leasebox_guest.job import Rights
from leasebox_guest.run import Run
from leasebox_guest.settings import Settings
from leasebox_guest.sweep import SIGKILL, Processes

_POLL_S = 0.0002
_NO_ROOM_BYTES = 64 << 10
"""A file system with less than that took no more of what a program wrote: tmpfs gives out its last page first."""


def drain(run: Run, channel: Channel) -> None:
    """Read the pipes to their ends, which are near, at most the capacity of each: every writer is dead."""
    for fd, kind in run.child.outputs.items():
        while data := _read(fd):
            if kind is Kind.DISPLAY:
                forward(run, data, channel)
            elif kept := run.count(kind, data):
                channel.send(kind, kept)


def forward(run: Run, data: bytes, channel: Channel) -> None:
    """Pass on what the interpreter of a cell says; a broken word of it, and what follows, is left out."""
    assert run.cell
    try:
        for kind, payload in run.cell.hear(data):
            channel.send(kind, payload)
    except ChannelBroken as exc:
        run.error = run.error or f"channel: {exc}"


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, PORTION_BYTES)
    except BlockingIOError:
        return b""  # a writer that could not be killed: the sandbox is reported unclean


def disk(settings: Settings) -> tuple[int, bool]:
    """Bytes in the workspace, and whether it or one of the other writable places has no room or no inode left.

    A program that failed for want of room and then took its files away is not seen.
    """
    if not settings.wipe:  # no file systems of its own: the figures would be the host's
        return 0, False
    seen = [os.statvfs(path) for path in (settings.workspace, *settings.wipe)]
    used = (seen[0].f_blocks - seen[0].f_bfree) * seen[0].f_frsize
    return used, any(_is_full(place) for place in seen)


def _is_full(place: os.statvfs_result) -> bool:
    no_room = place.f_blocks > 0 and place.f_bavail * place.f_frsize < _NO_ROOM_BYTES
    return no_room or (place.f_files > 0 and place.f_favail == 0)


def wipe_roots(roots: list[str], rights: Rights, processes: Processes) -> bool:
    """Whether nothing of the job is left in these folders; the wiper is forked only if something was.

    The agent waits for it, at most `WIPE_LIMIT_S`.
    """
    if not wipe.is_dirty(roots):
        return True
    pid = os.fork()
    if pid == 0:
        try:
            rights.become()
            wipe.wipe(roots)
        finally:
            os._exit(0)
    deadline = time.monotonic() + wipe.WIPE_LIMIT_S
    while pid not in processes.reap():
        if time.monotonic() > deadline:
            os.kill(pid, SIGKILL)
            return False
        time.sleep(_POLL_S)
    return not wipe.is_dirty(roots)
