"""What a cell shows, put together from parts that nobody has read before."""

import json

import pytest

from leasebox.contract.errors import GuestProtocolError
from leasebox_guest.frames import MAX_BUNDLE_BYTES, MAX_CELL_BYTES
from leasebox_worker.guestlink.displays import MAX_TYPES, NOT_A_BUNDLE, Displays, bundle_json
from leasebox_worker.guestlink.messages import Display, DisplayPart, Input


def test_parts_become_a_bundle_with_the_last_one() -> None:
    displays = Displays()

    assert displays.add(DisplayPart(b'{"text/pl', is_last=False)) is None
    assert displays.add(DisplayPart(b'ain": "x"}', is_last=True)) == Display(b'{"text/plain":"x"}')
    assert displays.add(DisplayPart(b'{"a/b":"y"}', is_last=True)) == Display(b'{"a/b":"y"}')


def test_a_bundle_that_never_ends_is_refused_at_its_bound() -> None:
    displays = Displays()
    displays.add(DisplayPart(b"x" * MAX_BUNDLE_BYTES, is_last=False))

    with pytest.raises(GuestProtocolError):
        displays.add(DisplayPart(b"x", is_last=False))


def test_prompts_count_too() -> None:
    displays = Displays()

    for _ in range(MAX_CELL_BYTES // 1024):
        displays.add_prompt(Input(""))
    with pytest.raises(GuestProtocolError):
        displays.add_prompt(Input(""))


@pytest.mark.parametrize(
    "bundle",
    [
        {"text/plain": "x"},
        {"image/svg+xml": "<svg/>", "application/vnd.custom.v1+json": {"a": [1, None]}},
        {"text/html; charset=utf-8": "<b>"},
    ],
)
def test_a_bundle_is_passed_on(bundle: dict[str, object]) -> None:
    assert json.loads(bundle_json(json.dumps(bundle).encode())) == bundle


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"text": "x"}',
        b'{"text/plain": 5}',
        b'{"text/plain": null}',
        b'{"application/json": NaN}',
        b'{"application/json": Infinity}',
        b'{"a\\nb/c": "x"}',
        json.dumps({f"a/{n}": "x" for n in range(MAX_TYPES + 1)}).encode(),
    ],
)
def test_what_is_no_bundle_becomes_a_note(data: bytes) -> None:
    assert bundle_json(data) == NOT_A_BUNDLE


def test_text_that_is_no_utf8_can_still_be_stored() -> None:
    assert bundle_json(b'{"text/plain": "\\ud800\\udc00 \\ud800"}').decode() == '{"text/plain":"\U00010000 ?"}'
