"""Every frame of an agent is the claim of an enemy."""

import json
from typing import Any

import pytest

from leasebox.contract.errors import GuestProtocolError
from leasebox_guest.frames import Kind
from leasebox_worker.guestlink.messages import Exited, Output, decode

EXITED: dict[str, Any] = {
    "id": "j", "code": 0, "signal": None, "limit": None, "cancelled": False, "wall_s": 0.1, "cpu_s": 0.1,
    "maxrss_bytes": 1, "clean": True, "error": None,
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
    ],
)
def test_an_ending_with_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(GuestProtocolError):
        decode(Kind.EXITED, json.dumps(EXITED | change).encode())


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"{" * 100_000, b'{"a":' * 100_000])
def test_a_control_frame_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        decode(Kind.EXITED, payload)


def test_a_frame_of_a_kind_that_only_hosts_send_is_refused() -> None:
    with pytest.raises(GuestProtocolError):
        decode(Kind.EXEC, b"{}")


def test_output_is_taken_as_it_is() -> None:
    assert decode(Kind.STDOUT, b"\xff\x00") == Output("stdout", b"\xff\x00")
