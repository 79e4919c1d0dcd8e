"""Does the feeder hand in what may be handed in, lose nothing to a full queue, and know when all has ended?"""

from typing import Any

import pytest

from leasebox._batches import Item
from leasebox._feeder import MAX_RETRY_S, SPECS_AT_ONCE, Ended, Feeder, Harvest
from leasebox._flows import Submitted
from leasebox.contract import errors
from leasebox.contract.batches import JobDone
from leasebox.contract.result import Outcome, Result
from leasebox.contract.spec import JobSpec

SPEC = JobSpec(code="1")


def feeder(count: int, max_in_flight: int | None = None) -> Feeder:
    """A feeder of so many items, whose jobs are named like their index."""
    return Feeder((Item(n, SPEC, job=str(n)) for n in range(count)), max_in_flight)


def taken(items: list[Item]) -> list[Any]:
    """An answer for each: queued."""
    return [Submitted(item.job, False) for item in items]


def full(retry_after_s: float | None = 1.0) -> errors.QueueFull:
    """What a full queue answers."""
    return errors.QueueFull("full", retry_after_s=retry_after_s)


def done(job: str) -> JobDone:
    """The end of a job."""
    return JobDone("1-1", 0.0, job, int(job), None, "ok")


def indexes(items: list[Item]) -> list[int]:
    """Which they are."""
    return [item.index for item in items]


def test_no_more_than_a_chunk_is_handed_in_at_once():
    fed = feeder(SPECS_AT_ONCE + 1)

    fed.answered(taken(sent := fed.next(0.0)), 0.0)

    assert len(sent) == SPECS_AT_ONCE
    assert indexes(fed.next(0.0)) == [SPECS_AT_ONCE]


def test_only_so_many_are_in_flight():
    fed = feeder(5, max_in_flight=2)
    fed.answered(taken(fed.next(0.0)), 0.0)

    assert fed.next(0.0) == []
    assert fed.block_s(0.0, 9.0) == 9.0
    fed.ended("0", 0.0)
    assert fed.block_s(0.0, 9.0) == 0.0
    assert indexes(fed.next(0.0)) == [2]


def test_what_a_full_queue_did_not_take_comes_again_in_order_one_first_then_twice_as_many():
    fed = feeder(6)
    fed.answered([*taken(fed.next(0.0)[:1]), *[full()] * 5], 0.0)

    assert fed.next(0.9) == []
    assert fed.block_s(0.9, 9.0) == pytest.approx(0.1)
    assert indexes(fed.next(1.0)) == [1]
    fed.answered([Submitted("1", False)], 1.0)
    assert indexes(fed.next(1.0)) == [2, 3]
    fed.answered([Submitted("2", False), full()], 1.0)
    assert fed.next(1.5) == []
    assert isinstance(fed.waits_for, errors.QueueFull)


def test_an_end_makes_room_at_once():
    fed = feeder(3)
    fed.next(0.0)
    fed.answered([Submitted("0", False), full(), full()], 0.0)

    fed.ended("0", 0.1)

    assert indexes(fed.next(0.1)) == [1, 2]


def test_a_quota_until_midnight_is_tried_again_much_earlier():
    fed = feeder(1)
    fed.next(0.0)
    fed.answered([errors.QuotaExceeded("cpu", retry_after_s=40_000.0)], 0.0)

    assert fed.next(MAX_RETRY_S) != []


def test_after_an_outage_the_same_items_come_again_as_the_same_jobs():
    fed = feeder(2)
    before = fed.next(0.0)

    fed.failed()

    assert fed.next(0.0) == before


def test_what_is_refused_for_good_is_told_once_and_not_waited_for():
    fed = feeder(2)
    fed.next(0.0)
    wrong = errors.InvalidSpec("no")

    fed.answered([wrong, Submitted("1", False)], 0.0)

    assert [(item.index, error) for item, error in fed.take_refused()] == [(0, wrong)]
    assert fed.take_refused() == []
    assert list(fed.in_flight) == ["1"]


def test_it_is_over_when_all_are_fed_and_have_ended():
    fed = feeder(1)
    fed.answered(taken(fed.next(0.0)), 0.0)
    assert fed.next(0.0) == []
    assert (fed.is_fed, fed.is_over) == (True, False)

    fed.ended("0", 0.0)

    assert fed.is_over


def test_an_end_that_is_told_before_the_answer_to_its_submit_is_kept():
    fed = feeder(1)
    ended = Ended(fed)
    fed.next(0.0)
    fed.failed()
    assert ended.of([done("0")]) == []

    fed.answered(taken(fed.next(0.0)), 0.0)

    assert ended.of([]) == [done("0")]
    assert ended.of([]) == []


@pytest.mark.parametrize(("is_ordered", "given"), [(True, [[], ["0", "1"], ["2"]]), (False, [["1"], ["0"], ["2"]])])
def test_results_come_in_order_or_as_they_end(is_ordered: bool, given: list[list[str]]):
    fed = feeder(3)
    fed.answered(taken(fed.next(0.0)), 0.0)
    harvest = Harvest(fed, is_ordered=is_ordered)

    found = [harvest.add(int(job), Result(job=job, outcome=Outcome.OK), 0.0) for job in ("1", "0", "2")]

    assert [[result.job for result in some] for some in found] == given
    assert not fed.in_flight
