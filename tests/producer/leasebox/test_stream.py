"""Does a reader give every byte once, every character whole, and notice what is missing?"""

import json
from itertools import pairwise

import pytest

from leasebox._stream import Entry, EventReader, Pace
from leasebox.contract import errors
from leasebox.contract.events import Finished, Queued, Stderr, Stdout
from leasebox.contract.result import Result

TEXT = "aß€😀z"
QUEUED: Entry = (b"0-1", {b"type": b"queued", b"at": b"1.0", b"json": b'{"queue":"q","position":0}'})


def chunk(number: int, data: bytes, kind: str = "stdout") -> Entry:
    """An entry of output."""
    return (f"1-{number}".encode(), {b"type": kind.encode(), b"at": b"2.0", b"data": data})


def finished(**more: object) -> Entry:
    """The last entry."""
    body = {"result": {"job": "j", "outcome": "ok"}, **more}
    return (b"1-999", {b"type": b"finished", b"at": b"3.0", b"json": json.dumps(body).encode()})


@pytest.mark.parametrize("cut", range(len(TEXT.encode()) + 1))
def test_no_character_is_split_at_any_offset(cut: int):
    data = TEXT.encode()
    found = EventReader("j").feed([QUEUED, chunk(16, data[:cut]), chunk(17, data[cut:]), finished()])
    out = [event for event in found if isinstance(event, Stdout)]

    assert "".join(event.text for event in out) == TEXT
    assert b"".join(event.data for event in out) == data


@pytest.mark.parametrize("place", range(len(TEXT.encode())))
def test_a_resumed_reader_knows_the_beginning_of_a_split_character(place: int):
    entries = [QUEUED, *(chunk(16 + n, bytes([byte])) for n, byte in enumerate(TEXT.encode())), finished()]
    whole = EventReader("j").feed(entries)
    seen = entries[: place + 2]
    reader = EventReader("j", after=seen[-1][0].decode())
    reader.prime(seen[::-1])

    assert reader.feed(entries[place + 2 :]) == whole[place + 2 :]


def test_the_two_streams_are_decoded_apart():
    entries = [
        QUEUED,
        chunk(16, b"\xc3"),
        chunk(17, b"\xc3", "stderr"),
        chunk(18, b"\x9f"),
        chunk(19, b"\xa4", "stderr"),
    ]
    found = EventReader("j").feed(entries)

    assert "".join(e.text for e in found if isinstance(e, Stdout)) == "ß"
    assert "".join(e.text for e in found if isinstance(e, Stderr)) == "ä"


def test_bytes_that_never_become_a_character_are_told_before_the_end():
    found = EventReader("j").feed([QUEUED, chunk(16, b"\xe2\x82"), finished()])

    assert [e.text for e in found if isinstance(e, Stdout)] == ["", "\ufffd"]
    assert isinstance(found[-1], Finished)
    assert all(int(a.id.split("-")[1]) <= int(b.id.split("-")[1]) for a, b in pairwise(found[1:]))


def test_a_stream_without_its_beginning_is_expired():
    with pytest.raises(errors.StreamExpired):
        EventReader("j").feed([chunk(16, b"x")])


def test_a_cursor_that_is_gone_is_expired():
    with pytest.raises(errors.StreamExpired):
        EventReader("j", after="1-16").prime([chunk(15, b"x")])


@pytest.mark.parametrize("after", ["", "$", "1", "-", "1-2-3", "a-b"])
def test_what_is_no_cursor_is_refused(after: str):
    with pytest.raises(errors.InvalidSpec):
        EventReader("j", after=after)


def test_a_partial_end_waits_for_the_whole_result():
    reader = EventReader("j")
    assert [type(e) for e in reader.feed([QUEUED, finished(partial=True)])] == [Queued]
    whole = Result.model_validate({"job": "j", "outcome": "ok", "stdout": "x"})

    assert (reader.is_partial, reader.is_done) == (True, True)
    assert reader.complete(whole) == Finished("1-999", 3.0, whole)


def test_an_unknown_kind_of_a_newer_worker_is_passed_by():
    newer: Entry = (b"1-5", {b"type": b"hologram", b"at": b"1", b"json": b"{}"})

    assert [type(e) for e in EventReader("j").feed([QUEUED, newer, finished()])] == [Queued, Finished]


def test_pace_ends_in_time_and_bears_an_outage_only_after_an_answer():
    down = errors.BrokerUnavailable("down")
    pace = Pace(now=0.0, timeout_s=10.0, block_s=5.0)
    assert (pace.block_s(0.0, "j"), pace.block_s(8.0, "j")) == (5.0, 2.0)
    with pytest.raises(errors.StreamTimeout):
        pace.block_s(10.0, "j")
    with pytest.raises(errors.BrokerUnavailable):
        pace.pause_s(1.0, down)
    pace.answered()

    assert pace.pause_s(1.0, down) > 0
    with pytest.raises(errors.BrokerUnavailable):
        pace.pause_s(62.0, down)
