"""Many files in one stream: each reaches its own sink, in whatever portions they come; nothing else is taken."""

import json

import pytest

from leasebox.contract.errors import GuestProtocolError
from leasebox_worker.engine.packed import PackedReader


class Collected:
    def __init__(self) -> None:
        self.data = b""

    def add(self, data: bytes) -> None:
        self.data += data


def packed(path: object, content: bytes, size: object = None) -> bytes:
    header = json.dumps({"path": path, "size": len(content) if size is None else size}).encode()
    return len(header).to_bytes(4, "big") + header + content


def read(stream: bytes, portion: int, expected: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    reader = PackedReader(expected, Collected, lambda path, sink: found.setdefault(path, sink.data))
    for at in range(0, len(stream), portion):
        reader.add(stream[at : at + portion])
    return found


@pytest.mark.parametrize("portion", [1, 3, 7, 64, 10_000])
def test_files_come_apart_as_they_were_put_together(portion: int) -> None:
    files = {"a": b"A" * 100, "empty": b"", "d/\udcff": bytes(range(256)), "end": b""}
    stream = b"".join(packed(path, content) for path, content in files.items())

    assert read(stream, portion, list(files)) == files


@pytest.mark.parametrize(
    "stream",
    [
        packed("other", b"x"),
        packed("a", b"x") + packed("a", b"x"),
        packed("a", b"", -1),
        packed("a", b"", 1 << 40),
        packed("a", b"", "1"),
        packed(["a"], b""),
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\2[]",
        b"\0\0\0\1x",
    ],
)
def test_what_was_not_asked_for_breaks_the_rules(stream: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        read(stream, 5, ["a"])


def test_a_file_that_has_not_ended_is_known() -> None:
    reader = PackedReader(["a"], Collected, lambda *_: None)
    reader.add(packed("a", b"x", 2))

    assert reader.open_sink is not None
    reader.add(b"y")
    assert reader.open_sink is None
