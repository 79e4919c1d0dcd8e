"""Which pages are taken over: the writable ones, less what a large preload holds."""

import os

import pytest

from leasebox_guest import pages, posix
from leasebox_guest.pages import BUSY_S, Pages, Ranges, without, writable


@pytest.mark.parametrize(
    ("ranges", "holes", "left"),
    [
        ([(0, 10)], [], [(0, 10)]),
        ([(0, 10)], [(3, 5)], [(0, 3), (5, 10)]),
        ([(0, 10)], [(0, 4), (8, 12)], [(4, 8)]),
        ([(0, 10), (20, 30)], [(5, 25)], [(0, 5), (25, 30)]),
        ([(4, 6)], [(0, 10)], []),
        ([(4, 6)], [(6, 8), (0, 4)], [(4, 6)]),
    ],
)
def test_holes_are_cut_out(ranges: Ranges, holes: Ranges, left: Ranges) -> None:
    assert without(ranges, holes) == left


def test_new_memory_is_among_the_writable() -> None:
    before = sum(end - start for start, end in without(writable(), []))
    kept = bytearray(32 << 20)

    assert sum(end - start for start, end in writable()) - before >= len(kept)


@pytest.mark.parametrize(("waited_s", "takes"), [(BUSY_S / 2, True), (BUSY_S * 2, False)])
@pytest.mark.parametrize("is_fork", [False, True])
def test_pages_are_left_alone_while_processors_are_short(
    monkeypatch: pytest.MonkeyPatch, waited_s: float, takes: bool, is_fork: bool
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(posix, "fault_in", lambda start, _: taken.append(start))
    began_s = 0.0 if is_fork else 7.0  # what the kernel counts begins anew with a fork
    monkeypatch.setattr(pages, "waited_s", lambda: 7.0)
    ours = Pages([], [])
    monkeypatch.setattr(pages, "waited_s", lambda: began_s + waited_s)
    if is_fork:
        monkeypatch.setattr(os, "getpid", lambda: 2)
    read, write = os.pipe()

    ours.take_over(read)

    assert bool(taken) is takes
    os.close(read)
    os.close(write)


def test_the_kernel_counts_how_long_a_process_waits() -> None:
    assert 0 < pages.waited_s() < 1e6
