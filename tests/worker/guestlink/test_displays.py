"""What a cell shows, put together from parts that nobody has read before."""

import json

import pytest

from leasebox.contract.errors import GuestProtocolError
from leasebox.contract.result import ARTIFACTS_MIME
from leasebox_guest.frames import APART, MAX_APART_BYTES, MAX_BUNDLE_BYTES, MAX_CELL_APART_BYTES, MAX_CELL_BYTES
from leasebox_worker.guestlink.displays import MAX_TYPES, NOT_A_BUNDLE, Displays, display_of
from leasebox_worker.guestlink.messages import ApartPart, Display, DisplayPart, Input


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
    assert json.loads(display_of(json.dumps(bundle).encode()).bundle_json) == bundle


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
    assert display_of(data) == Display(NOT_A_BUNDLE)


def test_text_that_is_no_utf8_can_still_be_stored() -> None:
    assert (
        display_of(b'{"text/plain": "\\ud800\\udc00 \\ud800"}').bundle_json.decode() == '{"text/plain":"\U00010000 ?"}'
    )


def test_what_comes_before_a_bundle_is_bounded_each_and_in_all() -> None:
    one, many = Displays(), Displays()
    one.add_apart(ApartPart(bytes(MAX_APART_BYTES), is_last=False))
    for _ in range(MAX_CELL_APART_BYTES // MAX_APART_BYTES):
        many.add_apart(ApartPart(bytes(MAX_APART_BYTES), is_last=True))

    for displays in (one, many):
        with pytest.raises(GuestProtocolError):
            displays.add_apart(ApartPart(b"x", is_last=True))


@pytest.mark.parametrize(
    ("named", "apart"),
    [
        (["text/html", "a/b"], ("text/html", "a/b")),
        (["text/html", "text/html"], ()),
        (["no type"], ()),
        ([1], ()),
        ([["a/b"]], ()),
        ("a/b", ()),
        ([f"a/{n}" for n in range(MAX_TYPES + 1)], ()),
    ],
)
def test_a_bundle_names_what_came_before_it(named: object, apart: tuple[str, ...]) -> None:
    bundle = {"text/plain": "x", APART: named}

    assert display_of(json.dumps(bundle).encode()) == Display(b'{"text/plain":"x"}', apart)


def test_a_bundle_may_have_nothing_but_what_came_before_it() -> None:
    assert display_of(json.dumps({APART: ["a/b"]}).encode()) == Display(b"{}", ("a/b",))


def test_a_cell_cannot_say_which_artifacts_hold_its_parts() -> None:
    forged = {"text/plain": "x", ARTIFACTS_MIME: {"text/html": "../../etc/passwd"}}

    assert display_of(json.dumps(forged).encode()) == Display(b'{"text/plain":"x"}')
    assert display_of(json.dumps({ARTIFACTS_MIME: {"a/b": "x"}}).encode()) == Display(NOT_A_BUNDLE)
