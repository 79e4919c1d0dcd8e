"""Does any secret get out, however it is cut, and does everything else, at once?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox_worker.policy.redaction import Redactor, redact

VALUES = (b"hunter2", b"s3cr3t-token")


@pytest.mark.parametrize(
    ("data", "values", "expected"),
    [
        (b"the password is hunter2!", VALUES, b"the password is ***!"),
        (b"hunter2hunter2", VALUES, b"******"),
        (b"hunter hunter1 unter2", VALUES, b"hunter hunter1 unter2"),
        (b"xabcdefx", (b"abcd", b"cdef"), b"x***x"),  # overlapping: one mask, and no tail
        (b"xabcdexabcdx", (b"abcd", b"abcde"), b"x***x***x"),
        (b"aaaaaaaaa", (b"aaaa",), b"***"),
        (b"ababababab!", (b"abab",), b"***!"),
        (b"a\nb\x00c", (b"\nb\x00",), b"a***c"),
        (b"", VALUES, b""),
    ],
)
def test_values_are_masked_wherever_they_stand(data: bytes, values: tuple[bytes, ...], expected: bytes) -> None:
    assert redact(data, values) == expected


@pytest.mark.parametrize("at", range(1, 22))
def test_a_cut_changes_nothing(at: int) -> None:
    data = b"my hunter2, s3cr3t-token and hunter"
    redactor = Redactor(VALUES)

    assert redactor.feed(data[:at]) + redactor.feed(data[at:]) + redactor.end() == b"my ***, *** and hunter"


def test_only_the_beginning_of_a_value_is_held_back() -> None:
    redactor = Redactor(VALUES)

    assert redactor.feed(b"all of this, but not hun") == b"all of this, but not "
    assert redactor.feed(b"gry") == b"hungry"


def test_a_short_beginning_waits_for_the_window_alone_and_the_rest_is_masked_all_the_same() -> None:
    redactor = Redactor(VALUES)
    assert redactor.feed(b"name: h") == b"name: "
    assert redactor.is_waiting

    assert redactor.release() == b"h"
    assert not redactor.is_waiting
    assert redactor.feed(b"unter2!") == b"***!"


def test_a_long_beginning_waits_until_it_is_decided() -> None:
    redactor = Redactor(VALUES)
    assert redactor.feed(b"hunter") == b""

    assert redactor.release() == b""
    assert redactor.feed(b"2") == b"***"


def test_what_was_let_out_is_not_let_out_again() -> None:
    redactor = Redactor(VALUES)
    redactor.feed(b"h")

    assert redactor.release() + redactor.feed(b"u") + redactor.release() + redactor.end() == b"hu"


def test_memory_is_bounded_however_values_overlap() -> None:
    redactor = Redactor([b"abab"])
    out = b"".join(redactor.feed(b"ab") for _ in range(1000))

    assert out + redactor.end() == b"***"


PIECES = st.lists(st.text("ab", max_size=6).map(str.encode), max_size=12)
SECRETS = st.lists(st.text("ab", min_size=1, max_size=5).map(str.encode), min_size=1, max_size=3)


def _masked(data: bytes, values: list[bytes]) -> bytes:
    """The same by looking at every byte: the specification."""
    groups: list[list[int]] = []
    spans = sorted((at, at + len(v)) for v in values for at in range(len(data)) if data.startswith(v, at))
    for start, end in spans:
        if groups and start < groups[-1][1]:
            groups[-1][1] = max(groups[-1][1], end)
        else:
            groups.append([start, end])
    out, at = b"", 0
    for start, end in groups:
        out, at = out + data[at:start] + b"***", end
    return out + data[at:]


@given(PIECES, SECRETS)
def test_any_stream_in_any_pieces_is_masked_as_a_whole(pieces: list[bytes], values: list[bytes]) -> None:
    redactor = Redactor(values)
    out = b"".join([*(redactor.feed(piece) for piece in pieces), redactor.end()])

    assert out == _masked(b"".join(pieces), values)


@given(PIECES, SECRETS, st.data())
def test_the_window_never_lets_more_than_three_bytes_of_a_value_out(
    pieces: list[bytes], values: list[bytes], data: st.DataObject
) -> None:
    long = [value + b"XYZW" for value in values]
    pieces = [p for piece in pieces for p in (piece, data.draw(st.sampled_from([b"", b"XYZW", *long])))]
    redactor = Redactor(long)
    out = b""
    for piece in pieces:
        out += redactor.feed(piece) + redactor.release()
    out += redactor.end()

    assert not any(value in out for value in long)
