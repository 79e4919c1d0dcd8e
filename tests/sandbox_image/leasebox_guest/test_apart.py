"""What of a bundle travels inside it, and what before it?"""

import base64
import json

import pytest

from leasebox_guest.apart import Divided, divide, whole
from leasebox_guest.bundle import TEXT_LIMIT
from leasebox_guest.frames import APART, MAX_APART_BYTES, MAX_BUNDLE_BYTES, MAX_CELL_APART_BYTES, DisplayMeter

MIB = 1 << 20


def divided(parts: dict[str, str], *, shown_bytes: int = 0, apart_bytes: int = 0) -> Divided:
    """Divided, when the cell has shown so much already."""
    meter, apart = DisplayMeter(), DisplayMeter(is_apart=True)
    while shown_bytes:
        meter.add(step := min(shown_bytes, MAX_BUNDLE_BYTES))
        shown_bytes -= step
    while apart_bytes:
        apart.add(step := min(apart_bytes, MAX_APART_BYTES))
        apart_bytes -= step
    return divide({mime: json.dumps(part).encode() for mime, part in parts.items()}, meter, apart)


def test_a_bundle_within_its_bounds_stays_as_it_is() -> None:
    parts = {"text/html": "<b>", "text/plain": "x" * TEXT_LIMIT}

    found = divided(parts)

    assert (json.loads(found.json), found.contents) == (parts, [])


def test_a_text_beyond_its_bound_goes_apart_and_its_beginning_stays() -> None:
    found = divided({"text/plain": "x" * TEXT_LIMIT + "yz"})
    bundle = json.loads(found.json)

    assert bundle["text/plain"] == "x" * TEXT_LIMIT + "\n... 2 characters left out"
    assert (bundle[APART], found.contents) == (["text/plain"], [b"x" * TEXT_LIMIT + b"yz"])


@pytest.mark.parametrize(
    ("sizes", "shown_bytes", "apart"),
    [
        ({"a/1": 3 * MIB, "a/2": 4 * MIB}, 0, []),
        ({"a/1": 5 * MIB, "a/2": 4 * MIB}, 0, ["a/1"]),
        ({"a/1": MIB, "a/2": 9 * MIB, "a/3": 10 * MIB}, 0, ["a/3", "a/2"]),
        ({"a/1": 2 * MIB, "a/2": 3 * MIB}, 28 * MIB, ["a/2"]),
        ({"a/1": 2 * MIB}, 31 * MIB, ["a/1"]),
    ],
)
def test_the_largest_parts_go_until_the_rest_fits(sizes: dict[str, int], shown_bytes: int, apart: list[str]) -> None:
    found = divided({mime: "x" * size for mime, size in sizes.items()}, shown_bytes=shown_bytes)
    bundle = json.loads(found.json)

    assert bundle.get(APART, []) == apart
    assert sorted(bundle.keys() - {APART}) == sorted(sizes.keys() - set(apart))
    assert [len(content) for content in found.contents] == [sizes[mime] for mime in apart]


def test_what_fits_nowhere_is_named_in_the_text() -> None:
    found = divided({"a/1": "x" * (9 * MIB), "text/plain": "H"}, apart_bytes=MAX_CELL_APART_BYTES - 8 * MIB)
    alone = divided({"a/1": "x" * (MAX_APART_BYTES + 1)})

    assert (json.loads(found.json), found.contents) == ({"text/plain": f"H\n[a/1: {9 * MIB} bytes left out]"}, [])
    assert json.loads(alone.json) == {"text/plain": f"[a/1: {MAX_APART_BYTES + 1} bytes left out]"}


@pytest.mark.parametrize(
    ("mime", "part", "content"),
    [
        ("image/png", base64.b64encode(b"\x89PNG").decode(), b"\x89PNG"),
        ("image/png", "no base64!", b"no base64!"),
        ("application/pdf", base64.b64encode(b"%PDF").decode(), b"%PDF"),
        ("image/svg+xml", "AAAA", b"AAAA"),
        ("text/html", "\u00e9\ud800", b"\xc3\xa9?"),
        ("application/json", {"a": [1]}, b'{"a": [1]}'),
        ("application/json", "text", b"text"),
    ],
)
def test_a_content_is_what_a_file_of_its_kind_has(mime: str, part: object, content: bytes) -> None:
    assert whole(mime, json.dumps(part).encode()) == content


def test_a_content_of_no_byte_still_ends() -> None:
    assert list(Divided(b"{}", [b"", b"x" * 61441]).payloads()) == [
        b"\2",
        b"\3" + b"x" * 61440,
        b"\2x",
        b"\0{}",
    ]
