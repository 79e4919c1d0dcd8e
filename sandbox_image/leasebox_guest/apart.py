"""Which parts of a bundle are too large to travel inside it? They go before it, whole, and the host keeps them.

The parts come as JSON texts: nothing of the cell's own runs any more while they are divided.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from leasebox_guest.bundle import TEXT_LIMIT, cut
from leasebox_guest.frames import APART, DisplayMeter

PLAIN = "text/plain"
_PORTION_BYTES = 60 << 10
_NAME_BYTES = 256
"""More than a MIME type and its marks have in the bundle's JSON, and again in the list of what went apart."""


class Divided:
    """A bundle as it travels: its JSON, and what goes before it, in the order in which the JSON names it."""

    __slots__ = ("contents", "json")

    def __init__(self, data: bytes, contents: list[bytes]) -> None:
        self.json = data
        self.contents = contents

    def payloads(self) -> Iterator[bytes]:
        """What the frames of kind DISPLAY hold."""
        for content in self.contents:
            yield from _portions(content, b"\3", b"\2")
        yield from _portions(self.json, b"\1", b"\0")


def divide(parts: dict[str, bytes], meter: DisplayMeter, apart: DisplayMeter) -> Divided:
    """Divide a bundle within what is left of the cell's bounds; what fits nowhere is named in the text.

    A text beyond its bound goes apart, and its beginning stays; of the other parts the largest go, until the rest fits.

    Args:
        parts: JSON texts by MIME type.
        meter: What the cell has shown in bundles; not counted up here.
        apart: What went apart; counted up here.
    """
    text = json.loads(parts.get(PLAIN, b'""'))
    inline = {mime: data for mime, data in parts.items() if mime != PLAIN}
    short = json.dumps(cut(text)).encode()
    moved = _largest(inline, meter, len(short))
    wanted = [*([PLAIN] if len(text) > TEXT_LIMIT else []), *moved]
    named: dict[str, bytes] = {}
    left_out = []
    for mime in wanted:
        content = whole(mime, parts[mime])
        if apart.has_room(len(content)):
            apart.add(len(content))
            named[mime] = content
        elif mime != PLAIN:  # that says itself how much is missing
            left_out.append(f"[{mime}: {len(content)} bytes left out]")
    kept = {mime: data for mime, data in inline.items() if mime not in moved}
    if PLAIN in parts or left_out:
        kept[PLAIN] = json.dumps("\n".join([cut(text), *left_out]).lstrip("\n")).encode()
    if named:
        kept[APART] = json.dumps(list(named)).encode()
    return Divided(_joined(kept), list(named.values()))


def whole(mime: str, data: bytes) -> bytes:
    """The content of a part as a file has it: binary kinds, which are base64 in a bundle, as their bytes."""
    part = json.loads(data)
    if not isinstance(part, str):
        return data
    if (mime.partition("/")[0] in ("image", "audio", "video") and "xml" not in mime) or mime == "application/pdf":
        try:
            return base64.b64decode(part, validate=True)
        except ValueError:
            pass  # a cell may call anything a picture
    return part.encode(errors="replace")


def _largest(inline: dict[str, bytes], meter: DisplayMeter, text_bytes: int) -> list[str]:
    """The parts that must go for the rest to fit."""
    by_size = sorted(inline, key=lambda mime: len(inline[mime]))
    size_bytes = text_bytes + sum(len(data) for data in inline.values()) + _NAME_BYTES * (len(inline) + 1)
    moved = []
    while by_size and not meter.has_room(size_bytes):
        moved.append(by_size.pop())
        size_bytes -= len(inline[moved[-1]])
    return moved


def _portions(data: bytes, more: bytes, end: bytes) -> Iterator[bytes]:
    last = max(0, len(data) - 1) // _PORTION_BYTES * _PORTION_BYTES
    for at in range(0, last + 1, _PORTION_BYTES):
        yield (more if at < last else end) + data[at : at + _PORTION_BYTES]


def _joined(parts: dict[str, bytes]) -> bytes:
    return b"{" + b", ".join(json.dumps(mime).encode() + b": " + data for mime, data in parts.items()) + b"}"
