"""Is an entry bound to the one before, is what it says bounded, and does a backlog lose nothing in silence?"""

import json

import pytest

from leasebox.contract.audit import START, Backlog, Door, Record, Signer, signer_of
from leasebox.contract.errors import ConfigError

KEY, OTHER = b"a key of 16 bytes", b"another of 16 bytes"


def record(**fields: object) -> Record:
    return Record(**{"at": 1.5, "door": Door.HTTP, "action": "job.submit", **fields})


def test_a_hash_covers_the_text_the_number_and_the_hash_before():
    signer = Signer(KEY)
    first, second = signer.chained(START, [record(), record()])
    alone = signer.chained(START, [record(target="x"), record()])

    assert (first.n, second.n) == (1, 2)
    assert second.hash == signer.digest(first.hash, second.text, signer.key_id)
    assert alone[1].text == second.text
    assert len({first.hash, second.hash, alone[1].hash}) == 3


def test_a_hash_is_made_with_the_key_and_can_be_checked_with_an_earlier_one():
    (entry,) = Signer(OTHER).chained(START, [record()])
    rotated, plain = Signer(KEY, OTHER), Signer()

    assert rotated.digest("", entry.text, Signer(OTHER).key_id) == entry.hash
    assert rotated.chained(START, [record()])[0].hash != entry.hash
    assert plain.digest("", entry.text, Signer(OTHER).key_id) is None


def test_a_text_is_one_line_of_ascii_without_long_words():
    text = Signer().chained(START, [record(target="a\n\x1b[2J" + "b" * 1000, more={"host": "ü" * 999})])[0].text

    assert text.isascii()
    assert text.isprintable()
    assert len(json.loads(text)["target"]) == len(json.loads(text)["more"]["host"]) == 256


@pytest.mark.parametrize("setting", ["short", f"{KEY.decode()},short"])
def test_a_key_must_be_one(setting: str):
    with pytest.raises(ConfigError, match="LEASEBOX_AUDIT_KEY"):
        signer_of(setting)


@pytest.mark.parametrize(
    ("setting", "signer"),
    [(None, Signer()), ("", Signer()), (KEY.decode(), Signer(KEY)), (f"{KEY.decode()}, {OTHER.decode()}", Signer(KEY))],
)
def test_the_first_key_signs(setting: str | None, signer: Signer):
    assert signer_of(setting).key_id == signer.key_id


def test_a_backlog_keeps_the_order_and_gives_the_same_until_it_is_done():
    backlog = Backlog()
    for number in range(300):
        backlog.put(record(target=str(number)))

    assert backlog.first() == backlog.first()
    assert [one.target for one in backlog.first()] == [str(number) for number in range(256)]
    backlog.done(256)
    assert [one.target for one in backlog.first()] == [str(number) for number in range(256, 300)]


def test_what_does_not_fit_is_counted_in_the_chain():
    backlog = Backlog(most=2)
    for _ in range(5):
        backlog.put(record())

    assert len(backlog) == 5
    backlog.done(2)
    (lost,) = backlog.first()
    assert (lost.action, lost.result, lost.more) == ("audit.lost", "lost", {"count": 3})
