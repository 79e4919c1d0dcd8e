import json
from typing import Any

import pytest

from leasebox_guest.spec import Spec, SpecError

GOOD: dict[str, Any] = {
    "id": "a", "kind": "command", "argv": ["x"], "code_bytes": 0, "code_path": None, "cwd": "/workspace/sub",
    "env": {"A": "b"}, "wall_s": 1.5, "cpu_s": None, "silence_s": 2, "stream_bytes": 10, "line_buffered": False,
    "cancel_grace_s": 0.5,
}  # fmt: skip


def test_a_spec_is_read() -> None:
    spec = Spec(json.dumps(GOOD).encode(), "/workspace")

    assert (spec.id, spec.kind, spec.wall_s, spec.cpu_s, spec.silence_s) == ("a", "command", 1.5, None, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""}, {"id": 3}, {"kind": "shell"}, {"argv": []}, {"argv": "ls"}, {"argv": ["a\0b"]}, {"argv": [1]},
        {"env": {"A=B": "c"}}, {"env": {"": "c"}}, {"env": {"A": 1}}, {"env": {"A": "\0"}}, {"env": []},
        {"cwd": "/"}, {"cwd": "/workspace2"}, {"cwd": "/workspace/../etc"}, {"cwd": "sub"}, {"code_bytes": 1},
        {"code_bytes": -1}, {"wall_s": None}, {"wall_s": True}, {"wall_s": float("inf")}, {"wall_s": float("nan")},
        {"unknown": 1}, {"code_path": "a\0"},
    ],
    ids=str,
)  # fmt: skip
def test_a_spec_that_is_wrong_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Spec(json.dumps(GOOD | change).encode(), "/workspace")


@pytest.mark.parametrize("payload", [b"", b"[]", b"nonsense", b"[" * 100_000, b"\xff"], ids=range(5))
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(SpecError):
        Spec(payload, "/workspace")
