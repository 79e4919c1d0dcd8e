"""Does verification find each change of the chain and name the entry, and nothing when there is none?"""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from leasebox import _audit, errors
from leasebox._audit_check import Report
from leasebox._redis import RedisTransport
from leasebox.config import ClientSettings
from leasebox.contract.audit import START, Door, Head, Record, Signer
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import audit

KEY, OTHER = b"a key of 16 bytes", b"another of 16 bytes"


class Chain:
    """A chain in a real Redis, and whoever may write to it."""

    def __init__(self, settings: ClientSettings, redis: Any) -> None:
        self.keys = Keys(settings.prefix)
        self.run = RedisTransport(str(settings.url)).run
        self.redis = redis
        self.clock = count()

    def write(self, wanted: int, signer: Signer, keep: int = 100) -> Head:
        head = START
        for number in range(wanted):
            record = Record(at=float(next(self.clock)), door=Door.HTTP, action="job.submit", target=str(number))
            head = self.run(audit.written(self.keys, signer, [record], head, keep=keep))
        return head

    def verify(self, signer: Signer, **more: Any) -> Report:
        return self.run(_audit.verify(self.keys, signer, **more))

    def set_head(self, n: int, digest: str | bytes) -> None:
        self.redis.hset(self.keys.audit_head(), mapping={"n": n, "hash": digest})

    def fields(self, n: int) -> dict[bytes, bytes]:
        return dict(self.redis.xrange(self.keys.audit(), f"{n}-0", f"{n}-0")[0][1])

    def put(self, changes: dict[int, dict[bytes, bytes] | None]) -> None:
        """Write the stream anew, with other entries in place of some, or none."""
        entries = self.redis.xrange(self.keys.audit())
        self.redis.delete(self.keys.audit())
        for place, fields in entries:
            n = int(place.split(b"-")[0])
            wanted = changes.get(n, fields)
            if wanted is not None:
                self.redis.xadd(self.keys.audit(), wanted, id=f"{n}-0")


@pytest.fixture
def chain(settings: ClientSettings, redis: Any) -> Chain:
    return Chain(settings, redis)


def found(report: Report) -> list[tuple[int, str]]:
    return [(fault.n, fault.kind) for fault in report.faults]


@pytest.mark.parametrize("signer", [Signer(), Signer(KEY)], ids=["plain", "keyed"])
def test_a_chain_that_nobody_touched_is_sound(chain: Chain, signer: Signer):
    head = chain.write(5, signer)
    report = chain.verify(signer)

    assert (found(report), report.entries, report.first, report.last) == ([], 5, 1, head)
    assert report.signed == (5 if signer.key_id else 0)


def test_a_chain_that_is_empty_is_sound(chain: Chain):
    assert chain.verify(Signer(KEY)).is_sound


def test_a_trimmed_chain_is_sound_and_its_first_entry_is_still_proven(chain: Chain):
    signer = Signer(KEY)
    chain.write(9, signer, keep=4)
    report = chain.verify(signer, keep=4)
    assert (found(report), report.first, report.entries) == ([], 6, 4)

    text = chain.fields(6)[b"json"].replace(b"job.submit", b"job.cancel")
    chain.put({6: {**chain.fields(6), b"json": text}})
    assert found(chain.verify(signer, keep=4)) == [(6, "changed")]


def test_a_long_chain_is_read_in_pages(chain: Chain):
    signer, head = Signer(KEY), START
    for _ in range(9):
        records = [Record(at=1.0, door=Door.HTTP, action="a")] * 256
        head = chain.run(audit.written(chain.keys, signer, records, head))

    report = chain.verify(signer)
    assert (found(report), report.entries, report.last) == ([], 9 * 256, head)


TAMPERED: dict[str, tuple[Callable[[Chain], Any], list[tuple[int, str]]]] = {
    "text": (
        lambda c: c.put({3: {**c.fields(3), b"json": c.fields(3)[b"json"].replace(b"submit", b"cancel")}}),
        [(3, "changed")],
    ),
    "hash": (lambda c: c.put({3: {**c.fields(3), b"hash": b"0" * 64}}), [(3, "changed")]),
    "no text": (lambda c: c.put({3: {b"x": b"y"}}), [(3, "changed")]),
    "removed": (lambda c: c.redis.xdel(c.keys.audit(), "3-0"), [(3, "removed")]),
    "several removed": (lambda c: c.redis.xdel(c.keys.audit(), "2-0", "3-0"), [(2, "removed")]),
    "first removed": (lambda c: c.redis.xdel(c.keys.audit(), "1-0"), [(1, "removed")]),
    "last removed": (lambda c: c.redis.xdel(c.keys.audit(), "5-0"), [(5, "removed")]),
    "all removed": (lambda c: c.redis.delete(c.keys.audit()), [(1, "removed")]),
    "swapped": (lambda c: c.put({2: c.fields(3), 3: c.fields(2)}), [(2, "moved"), (3, "moved")]),
    "doubled": (lambda c: c.put({3: c.fields(2)}), [(3, "moved")]),
    "head set back": (
        lambda c: c.redis.hset(c.keys.audit_head(), mapping={"n": 3, "hash": c.fields(3)[b"hash"]}),
        [(4, "head")],
    ),
    "head gone": (lambda c: c.redis.delete(c.keys.audit_head()), [(1, "head")]),
    "other head": (lambda c: c.redis.hset(c.keys.audit_head(), "hash", "x"), [(5, "head")]),
    "cut too early": (
        lambda c: (
            c.redis.hset(c.keys.audit_head(), mapping={"cut_n": 2, "cut_hash": c.fields(2)[b"hash"]}),
            c.redis.xtrim(c.keys.audit(), minid="3-0", approximate=False),
        ),
        [(1, "removed")],
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_done_to_a_chain_is_found_and_named(chain: Chain, what: str):
    tamper, faults = TAMPERED[what]
    chain.write(5, Signer(KEY))
    tamper(chain)

    assert found(chain.verify(Signer(KEY))) == faults


def test_without_the_key_nobody_makes_an_entry_that_passes(chain: Chain):
    """Whoever may write to Redis, but has not the key, writes the end anew: plainly, or under a key of his own."""
    chain.write(5, Signer(KEY))
    honest = chain.redis.xrange(chain.keys.audit(), "-", "2-0")
    for signer, kind in ((Signer(), "unsigned"), (Signer(OTHER), "unknown_key")):
        chain.redis.delete(chain.keys.audit(), chain.keys.audit_head())
        for place, fields in honest:
            chain.redis.xadd(chain.keys.audit(), fields, id=place)
        record = Record(at=1.0, door=Door.HTTP, action="nothing.happened")
        chain.run(audit.written(chain.keys, signer, [record], START))

        assert found(chain.verify(Signer(KEY))) == [(3, kind)]


def test_who_knows_the_id_of_the_key_but_not_the_key_makes_nothing_that_passes(chain: Chain):
    class Forger(Signer):
        def digest(self, previous: str, text: str, key_id: str) -> str | None:
            return super().digest(previous, text, "")

    chain.write(3, Signer(KEY))
    chain.write(1, Forger(KEY))

    assert found(chain.verify(Signer(KEY))) == [(4, "changed")]


def test_a_chain_all_of_plain_hashes_does_not_pass_with_a_key(chain: Chain):
    chain.write(3, Signer())

    assert found(chain.verify(Signer(KEY))) == [(1, "unsigned")]


def test_what_was_plain_before_there_was_a_key_is_bound_by_the_first_entry_under_it(chain: Chain):
    chain.write(2, Signer())
    chain.write(2, Signer(KEY))
    assert found(chain.verify(Signer(KEY))) == []

    # Whoever tampers makes all plain hashes anew.
    forged = Signer().chained(START, [Record(at=9.0, door=Door.HTTP, action="other")] * 2)
    chain.put({entry.n: {b"json": entry.text.encode(), b"hash": entry.hash.encode()} for entry in forged})
    assert found(chain.verify(Signer(KEY))) == [(3, "changed")]


def test_after_a_rotation_the_earlier_key_is_still_needed(chain: Chain):
    chain.write(3, Signer(OTHER))
    chain.write(3, Signer(KEY, OTHER))

    assert chain.verify(Signer(KEY, OTHER)).signed == 6
    assert found(chain.verify(Signer(KEY, OTHER))) == []
    assert found(chain.verify(Signer(KEY))) == [(1, "unknown_key")]
    assert found(chain.verify(Signer())) == [(1, "unknown_key"), (4, "unknown_key")]


def test_an_end_that_was_cut_away_is_seen_by_what_was_noted(chain: Chain):
    signer = Signer(KEY)
    chain.write(3, signer)
    third = chain.verify(signer).last
    last = chain.write(2, signer)
    assert found(chain.verify(signer, noted=last)) == []
    assert found(chain.verify(signer, noted=Head(3, "x"))) == [(3, "rewritten")]

    chain.redis.xdel(chain.keys.audit(), "4-0", "5-0")
    chain.set_head(*third)
    assert found(chain.verify(signer)) == []
    assert found(chain.verify(signer, noted=last)) == [(5, "removed")]


def test_many_faults_are_counted_and_a_hundred_told(chain: Chain):
    chain.write(150, Signer(KEY), keep=200)
    chain.put({n: {**chain.fields(n), b"hash": b"x"} for n in range(1, 151)})
    report = chain.verify(Signer(KEY), keep=200)

    assert len(report.faults) == 100
    assert report.fault_count >= 150


def test_entries_are_read_from_the_end_and_behind_one(chain: Chain):
    chain.write(5, Signer(KEY))

    assert [entry["n"] for entry in chain.run(_audit.newest(chain.keys, 2))] == [4, 5]
    assert [entry["n"] for entry in chain.run(_audit.after(chain.keys, 2, 2))] == [3, 4]
    (entry,) = chain.run(_audit.after(chain.keys, 4, 9))
    assert entry == {**json.loads(chain.fields(5)[b"json"]), "hash": chain.fields(5)[b"hash"].decode()}
    assert entry["target"] == "4"


@pytest.mark.parametrize("text", ["", "5", ":x", "x:y", "5:"])
def test_what_was_noted_must_be_a_number_and_a_hash(text: str):
    with pytest.raises(errors.InvalidSpec, match="NUMBER:HASH"):
        _audit.noted_head(text)
