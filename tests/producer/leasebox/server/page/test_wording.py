"""Are times, sizes and strangers' words put so that people can read them?"""

import pytest

from leasebox.contract.result import Outcome, State
from leasebox.server.page.wording import ago, iso, mark, size, span, stamp, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äß€ 😀\t\n", "plain äß€ 😀\t\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b[2J\x1b[H", "␛[2J␛[H"),
        ("10%\r20%\r\nend", "10%␍20%\nend"),
        ("\x00\x7f\x9b", "␀␡‹U+009B›"),
        ("admin\u202etxt.exe\u2066\u200f", "admin‹U+202E›txt.exe‹U+2066›‹U+200F›"),
        ("\ud800", "‹U+D800›"),
        ("<b>", "<b>"),
    ],
)
def test_what_hides_or_turns_text_is_named(text: str, shown: str):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (0.0414, "41 ms"),
        (1, "1.0 s"),
        (9.94, "9.9 s"),
        (90, "90 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (86400, "24 h"),
        (172800, "2 d"),
    ],
)
def test_a_length_of_time_has_the_unit_of_its_size(seconds: float, expected: str):
    assert span(seconds) == expected


@pytest.mark.parametrize(
    ("at", "expected"), [(100, "now"), (100.5, "now"), (58, "42 s ago"), (1900, "in 30 min"), (101, "in 1.0 s")]
)
def test_a_time_is_told_from_now(at: float, expected: str):
    assert ago(at, 100) == expected


def test_a_time_in_full_is_utc():
    assert (iso(0.5), stamp(0.5)) == ("1970-01-01T00:00:00.500Z", "1970-01-01 00:00:00 UTC")


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (5 << 20, "5 MiB"), (3 << 30, "3.0 GiB")]
)
def test_a_size_has_the_unit_of_its_size(count: int, expected: str):
    assert size(count) == expected


def test_every_outcome_that_is_neither_good_nor_wanted_looks_bad():
    calm = {Outcome.OK: "good", Outcome.CANCELLED: "calm", Outcome.EXPIRED: "calm"}

    assert {outcome: mark(outcome) for outcome in Outcome} == dict.fromkeys(Outcome, "bad") | calm
    assert {mark(state) for state in State if state is not State.FINISHED} == {"wait", "live"}
