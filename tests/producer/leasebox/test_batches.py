"""Are portions bounded, and does an outage between an end and its Result lose nothing?"""

import json
from typing import Any

import pytest

from leasebox import _batches
from leasebox._batches import PORTION_BYTES, PORTION_SPECS, BatchReader, Handed
from leasebox._content import Source
from leasebox._reads import Ahead, Landed, Query
from leasebox.config import ClientSettings
from leasebox.contract import errors
from leasebox.contract.keys import Keys
from leasebox.contract.result import Outcome, Result
from leasebox.contract.scripts import client_answers
from leasebox.contract.scripts.client import NewJob

KEYS = Keys("t")
DONE: Any = (b"5-1", {b"type": b"done", b"at": b"1", b"json": b'{"job":"j","index":0,"key":null,"outcome":"ok"}'})


def record(size_bytes: int = 2) -> NewJob:
    """A record with a spec of this size."""
    return NewJob(
        job="j", kind="program", tenant="t", session=None, profile=None, priority="default", spec=b"x" * size_bytes,
        digest="d",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("records", "sizes"),
    [
        ([record()] * (PORTION_SPECS + 1), [PORTION_SPECS, 1]),
        ([record(PORTION_BYTES // 2)] * 5, [2, 2, 1]),
        ([record(PORTION_BYTES + 1)] * 2, [1, 1]),
        ([errors.InvalidSpec("no")] * 3, [3]),
        ([], []),
    ],
)
def test_portions_have_a_bound_of_specs_and_of_bytes(records: list[Any], sizes: list[int]):
    assert [len(portion) for portion in _batches.portions(Handed(one, {}) for one in records)] == sizes


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (r'"stdin": "\ud800"', "stdin: must be text in UTF-8"),
        (r'"files": {"a": "\ud800"}', "files.a: must be text in UTF-8"),
        (r'"key": "\ud800"', "key: a text of at most 256 characters, in UTF-8"),
        (r'"args": ["\ud800"]', "args: must be text in UTF-8"),
    ],
)
def test_half_a_character_is_the_error_of_its_item_alone(fields: str, told: str):
    given = json.loads(f'{{"code": "1", {fields}}}')

    item = _batches.item_of(0, given, ClientSettings(_env_file=None))

    assert isinstance(item.spec, errors.InvalidSpec)
    assert str(item.spec) == told


def test_a_name_of_a_batch_that_holds_half_a_character_is_refused():
    with pytest.raises(errors.InvalidSpec, match="in UTF-8"):
        _batches.checked_batch_name("\ud800")


def test_what_must_be_uploaded_counts_too_so_that_it_is_not_kept_waiting():
    large = Handed(record(), {"a": Source(PORTION_BYTES // 2, list)})

    assert [len(portion) for portion in _batches.portions([large] * 3 + [Handed(record(), {})])] == [1, 1, 2]


def test_records_are_made_as_they_are_sent():
    made: list[int] = []

    def records() -> Any:
        for number in range(3 * PORTION_SPECS):
            made.append(number)
            yield Handed(record(), {})

    flow = _batches.submit_many(KEYS, "acme", records())
    sent = next(flow)

    assert isinstance(sent, Ahead)
    assert len(sent.calls) == PORTION_SPECS
    assert len(made) == PORTION_SPECS + 1


def test_a_portion_is_made_and_sent_behind_the_one_before_whose_answers_are_still_on_their_way():
    made: list[int] = []

    def records() -> Any:
        for number in range(3 * PORTION_SPECS):
            made.append(number)
            yield Handed(record(), {})

    answers = [client_answers.Accepted("a", 0, True)] * PORTION_SPECS
    flow = _batches.submit_many(KEYS, "acme", records())
    steps: list[Any] = [next(flow)]
    steps += [flow.send(reply) for reply in ("talk", "talk", answers, "talk", answers)]

    assert [isinstance(step, Landed) for step in steps] == [False, False, True, False, True, True]
    assert [getattr(step, "behind", None) for step in steps] == [None, "talk", None, "talk", None, None]
    assert len(made) == 3 * PORTION_SPECS


def test_each_record_has_its_own_answer_in_its_own_place():
    wrong, full = errors.InvalidSpec("no"), errors.QueueFull("at its memory limit")
    flow = _batches.submit_many(KEYS, "acme", [Handed(one, {}) for one in (record(), wrong, record(), record())])
    next(flow)
    assert isinstance(flow.send("sent"), Landed)

    with pytest.raises(StopIteration) as caught:
        flow.send([client_answers.Accepted("a", 0, True), full, client_answers.Refused("batch_closed")])

    first, *others = caught.value.value
    assert first.job == "a"
    assert others[:2] == [wrong, full]
    assert isinstance(others[2], errors.BatchClosed)


def test_an_outage_between_an_end_and_its_result_loses_neither():
    reader = BatchReader("b", "1-1", has_results=True)
    reader.is_known = True
    flow = _batches.next_events(KEYS, "t", reader, 1.0)
    assert isinstance(next(flow), Query)
    assert isinstance(flow.send([DONE]), Query)
    with pytest.raises(errors.BrokerUnavailable):
        flow.throw(errors.BrokerUnavailable("down"))
    assert reader.cursor == "1-1"

    again = _batches.next_events(KEYS, "t", reader, 1.0)
    next(again)
    again.send([DONE])
    with pytest.raises(StopIteration) as caught:
        again.send([Result(job="j", outcome=Outcome.OK)])

    assert [event.result.job for event in caught.value.value] == ["j"]
    assert reader.cursor == "5-1"
