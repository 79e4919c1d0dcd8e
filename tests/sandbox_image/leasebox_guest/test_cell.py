"""What an interpreter may say of its cell, word by word."""

import json
from typing import Any

import pytest

from leasebox_guest.cell import Cell, ChannelBroken
from leasebox_guest.frames import (
    MAX_APART_BYTES,
    MAX_BUNDLE_BYTES,
    MAX_CELL_APART_BYTES,
    MAX_CELL_BYTES,
    DisplayMeter,
    FrameError,
    Kind,
    pack,
    pack_json,
)

END: dict[str, Any] = {"status": 0, "error": None, "restart": False}


def test_a_whole_conversation_is_understood_in_any_portions() -> None:
    cell = Cell()
    error = {"name": "E", "message": "m" * 9999, "traceback": "t"}
    data = pack(Kind.STARTED, cell.id.encode()) + pack(Kind.DISPLAY, b"\1{") + pack(Kind.DISPLAY, b"\0}")
    data += pack_json(Kind.INPUT, {"prompt": "?"}) + pack_json(
        Kind.EXITED, {**END, "cell": cell.id, "error": error, "status": 3}
    )

    onward = [word for at in range(len(data)) for word in cell.hear(data[at : at + 1])]

    assert onward == [(Kind.DISPLAY, b"\1{"), (Kind.DISPLAY, b"\0}"), (Kind.INPUT, b'{"prompt": "?"}')]
    assert (cell.has_begun, cell.status, cell.wants_restart) == (True, 3, False)
    assert cell.error == {"name": "E", "message": "m" * 4096, "traceback": "t"}


def test_nothing_counts_behind_the_end() -> None:
    cell = Cell()
    end = pack_json(Kind.EXITED, {**END, "cell": cell.id})

    assert cell.hear(end + pack(Kind.DISPLAY, b"\0{}")) == []


@pytest.mark.parametrize(
    "word",
    [
        pack(Kind.STARTED, b"another"),
        pack(Kind.STARTED, b"\xff"),
        pack(Kind.EXITED, b"{"),
        pack(Kind.EXITED, b"[]"),
        pack(Kind.EXITED, b"[" * 100_000),
        pack_json(Kind.EXITED, END),
        pack_json(Kind.EXITED, {**END, "cell": "another"}),
        pack_json(Kind.EXITED, {**END, "cell": "ID", "error": {}}),
        pack_json(Kind.EXITED, {**END, "cell": "ID", "error": "text"}),
        pack_json(Kind.EXITED, {**END, "cell": "ID", "status": "x"}),
        pack(Kind.DISPLAY),
        pack(Kind.DISPLAY, b"\4"),
        pack(Kind.INPUT, b"{}"),
        pack_json(Kind.INPUT, {"prompt": 1}),
        pack(Kind.STDOUT, b"x"),
        pack(Kind.READY, b"{}"),
        pack(99, b""),
        b"\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff",
    ],
)
def test_any_other_word_breaks_the_channel(word: bytes) -> None:
    cell = Cell()
    if b'"ID"' in word:  # with the right id, something else is wrong
        fields = json.loads(word[5:])
        word = pack_json(Kind.EXITED, fields | {"cell": cell.id})

    with pytest.raises(ChannelBroken):
        cell.hear(word)


def test_a_bundle_and_a_cell_have_a_bound_at_which_they_still_fit() -> None:
    meter = DisplayMeter()
    for _ in range(MAX_CELL_BYTES // MAX_BUNDLE_BYTES):
        meter.add(MAX_BUNDLE_BYTES - 1, is_last=False)
        meter.add(1)

    assert not meter.has_room(0)
    with pytest.raises(FrameError):
        meter.add(0)
    with pytest.raises(FrameError):
        DisplayMeter().add(MAX_BUNDLE_BYTES + 1, is_last=False)


def test_the_number_of_empty_bundles_is_bounded_too() -> None:
    meter = DisplayMeter()
    for _ in range(MAX_CELL_BYTES // 1024):
        meter.add(2)

    assert not meter.has_room(2)


def test_what_goes_before_its_bundle_passes_and_has_bounds_of_its_own() -> None:
    cell = Cell()
    half = pack(Kind.DISPLAY, b"\3" + bytes(MAX_APART_BYTES // 64))

    for _ in range(64):
        assert cell.hear(half)[0][0] is Kind.DISPLAY
    with pytest.raises(ChannelBroken):
        cell.hear(pack(Kind.DISPLAY, b"\2x"))


def test_the_number_of_contents_apart_is_bounded_too() -> None:
    meter = DisplayMeter(is_apart=True)
    for _ in range(MAX_CELL_APART_BYTES >> 20):
        meter.add(1)

    assert not meter.has_room(1)
