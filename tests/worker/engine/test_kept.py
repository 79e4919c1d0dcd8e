"""What the Result keeps of a stream."""

import pytest

from leasebox_worker.engine.kept import Kept


@pytest.mark.parametrize("step", [1, 3, 7, 100, 1000])
@pytest.mark.parametrize("total", [0, 99, 100, 101, 1000])
def test_kept_is_all_up_to_the_bound_and_head_and_tail_beyond(total: int, step: int) -> None:
    written = bytes(i % 251 for i in range(total))
    kept = Kept(100)
    for at in range(0, total, step):
        kept.add(written[at : at + step])

    assert kept.data() == (written if total <= 100 else written[:75] + written[-25:])
    assert kept.is_truncated == (total > 100)
    assert kept.total == total


def test_a_bound_of_zero_keeps_nothing_and_says_so() -> None:
    kept = Kept(0)
    kept.add(b"x")

    assert kept.data() == b""
    assert kept.is_truncated


def test_bytes_that_are_not_utf8_come_as_text_with_replacement_and_as_base64() -> None:
    kept = Kept(100)
    kept.add(b"a\xff")

    assert kept.text_and_base64() == ("a\ufffd", "Yf8=")


def test_utf8_needs_no_base64() -> None:
    kept = Kept(100)
    kept.add("ä".encode())

    assert kept.text_and_base64() == ("ä", None)
