"""Every frame of an agent is the claim of an enemy."""

import json
from typing import Any

import pytest

from leasebox.contract.errors import GuestProtocolError
from leasebox_guest.frames import Kind
from leasebox_worker.guestlink.messages import (
    ApartPart,
    CellError,
    DisplayPart,
    Exited,
    Input,
    Output,
    Restarted,
    decode,
)

EXITED: dict[str, Any] = {
    "id": "j", "code": 0, "signal": None, "limit": None, "cancelled": False, "wall_s": 0.1, "cpu_s": 0.1,
    "maxrss_bytes": 1, "clean": True, "error": None, "interpreter": "none",
}  # fmt: skip


def test_a_true_ending_is_understood() -> None:
    message = decode(Kind.EXITED, json.dumps(EXITED).encode())

    assert message == Exited("j", 0, None, None, False, 0.1, 0.1, 1, True, None)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"id": "x" * 5000},
        {"code": -1},
        {"code": 256},
        {"code": "0"},
        {"code": True},
        {"signal": 65},
        {"limit": "patience"},
        {"wall_s": float("nan")},
        {"wall_s": -1},
        {"cpu_s": None},
        {"maxrss_bytes": 1e300},
        {"interpreter": "gone"},
        {"interpreter": None},
        {"failure": "text"},
        {"failure": {"name": "E", "message": "m"}},
        {"failure": {"name": "E", "message": "m" * 4097, "traceback": ""}},
        {"failure": {"name": "E", "message": "m", "traceback": "t" * 32769}},
        {"maxrss_bytes": 10**400},
        {"disk_bytes": -1},
    ],
)
def test_an_ending_with_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(GuestProtocolError):
        decode(Kind.EXITED, json.dumps(EXITED | change).encode())


def test_half_a_character_in_a_text_becomes_one_that_can_be_written() -> None:
    message = decode(Kind.EXITED, json.dumps(EXITED | {"error": "\ud800"}).encode())

    assert isinstance(message, Exited)
    assert message.error == "?"


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"{" * 100_000, b'{"a":' * 100_000])
def test_a_control_frame_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        decode(Kind.EXITED, payload)


def test_a_frame_of_a_kind_that_only_hosts_send_is_refused() -> None:
    with pytest.raises(GuestProtocolError):
        decode(Kind.EXEC, b"{}")


def test_output_is_taken_as_it_is() -> None:
    assert decode(Kind.STDOUT, b"\xff\x00") == Output("stdout", b"\xff\x00")


def test_the_end_of_a_cell_is_understood() -> None:
    fields = EXITED | {"interpreter": "kept", "failure": {"name": "E", "message": "\ud800", "traceback": "t"}}

    message = decode(Kind.EXITED, json.dumps(fields).encode())

    assert isinstance(message, Exited)
    assert (message.interpreter, message.failure) == ("kept", CellError("E", "?", "t"))


def test_the_words_of_a_cell_are_understood() -> None:
    assert decode(Kind.STARTED, b'{"id": "j", "pid": 5}') is None
    assert decode(Kind.STARTED, b'{"id": "j", "pid": 5, "restarted": "wall"}') == Restarted("wall")
    assert decode(Kind.INPUT, b'{"prompt": "name? "}') == Input("name? ")
    assert decode(Kind.DISPLAY, b"\1ab") == DisplayPart(b"ab", is_last=False)
    assert decode(Kind.DISPLAY, b"\0") == DisplayPart(b"", is_last=True)
    assert decode(Kind.DISPLAY, b"\3ab") == ApartPart(b"ab", is_last=False)
    assert decode(Kind.DISPLAY, b"\2") == ApartPart(b"", is_last=True)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.STARTED, b'{"restarted": "a reason of its own"}'),
        (Kind.INPUT, b"{}"),
        (Kind.INPUT, b'{"prompt": "' + b"p" * 4097 + b'"}'),
        (Kind.DISPLAY, b""),
        (Kind.DISPLAY, b"\4{}"),
    ],
)
def test_words_that_no_agent_lets_pass_are_refused(kind: Kind, payload: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        decode(kind, payload)
