"""Which pages are taken over: the writable ones, less what a large preload holds."""

import pytest

from leasebox_guest.pages import Ranges, without, writable


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
