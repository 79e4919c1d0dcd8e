"""Which warm sandboxes a node makes and ends, and what its pools look like in Redis."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.contract.scripts import answers
from leasebox_worker.lifecycle.pool import SPARE_PLACES, Drop, Make, Pools, Shelf, Stock, gives_way, refill_plan

A, B = Make("a"), Make("b")


def shelf(profile: str = "a", wanted: int = 2, ready: str = "", gone: str = "", making: int = 0, **more: Any) -> Shelf:
    """A shelf whose sandboxes are named by one letter each."""
    return Shelf(profile, wanted, tuple(ready), frozenset(gone), making, **more)


def stock(*shelves: Shelf, free: int = 9, makers: int = 9, **more: Any) -> Stock:
    return Stock(shelves, free, makers, **more)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(stock(shelf()), [A, A], id="an empty shelf is filled"),
        pytest.param(stock(shelf(ready="xy")), [], id="a full one is left alone"),
        pytest.param(stock(shelf(ready="x")), [A], id="what lacks is made"),
        pytest.param(stock(shelf(ready="x", making=1)), [], id="what is being made counts"),
        pytest.param(stock(shelf(), makers=1), [A], id="no more at a time than there are makers"),
        pytest.param(stock(shelf(), makers=0), [], id="none when all makers are busy"),
        pytest.param(stock(shelf(), free=2), [A], id="one place of the node stays for a job"),
        pytest.param(stock(shelf(), free=1), [], id="the last place is a job's"),
        pytest.param(stock(shelf(), free=0), [], id="a full node makes none"),
        pytest.param(stock(shelf(), free=-3), [], id="nor does one beyond its bound"),
        pytest.param(stock(shelf(), may_make=False), [], id="none while the node takes no work"),
        pytest.param(stock(shelf(is_resting=True)), [], id="none while the last failure is fresh"),
        pytest.param(stock(shelf(is_resting=True), shelf("b")), [B, B], id="which does not hold others up"),
        pytest.param(stock(shelf(ready="x"), shelf("b")), [B, A, B], id="the emptiest shelf first"),
        pytest.param(stock(shelf(ready="xy", gone="x")), [Drop("a", "x"), A], id="a dead one is dropped and replaced"),
        pytest.param(stock(shelf(wanted=1, ready="xy")), [Drop("a", "y")], id="beyond the profile's: the last first"),
        pytest.param(stock(shelf(wanted=0, ready="xy")), [Drop("a", "x"), Drop("a", "y")], id="none is wanted"),
        pytest.param(
            stock(shelf(wanted=1, ready="xyz", gone="x")), [Drop("a", "x"), Drop("a", "z")], id="dead ones do not count"
        ),
        pytest.param(
            stock(shelf(ready="xy"), shelf("b"), is_draining=True),
            [Drop("a", "x"), Drop("a", "y")],
            id="a draining node ends all",
        ),
    ],
)
def test_the_plan(seen: Stock, expected: list[Make | Drop]) -> None:
    assert refill_plan(seen) == expected


@st.composite
def shelves(draw: st.DrawFn) -> Shelf:
    ready = draw(st.text("uvwxyz", max_size=6).map(lambda text: "".join(sorted(set(text)))))
    gone = draw(st.frozensets(st.sampled_from(ready), max_size=len(ready))) if ready else frozenset()
    profile = draw(st.sampled_from(("a", "b", "c")))
    return Shelf(profile, draw(st.integers(0, 4)), tuple(ready), gone, draw(st.integers(0, 3)), draw(st.booleans()))


@given(
    st.builds(
        Stock,
        st.lists(shelves(), max_size=3, unique_by=lambda shelf: shelf.profile).map(tuple),
        st.integers(-2, 8), st.integers(0, 4), st.booleans(), st.booleans(),
    )
)  # fmt: skip
def test_whatever_the_plan_sees_it_keeps_within_the_bounds_and_ends_nothing_that_is_wanted(stock: Stock) -> None:
    plan = refill_plan(stock)
    made = [action.profile for action in plan if isinstance(action, Make)]
    dropped = [(action.profile, action.sandbox) for action in plan if isinstance(action, Drop)]

    assert len(made) <= max(0, min(stock.free_places - SPARE_PLACES, stock.idle_makers))
    assert len(dropped) == len(set(dropped))
    for shelf in stock.shelves:
        living = set(shelf.ready) - shelf.gone - {name for profile, name in dropped if profile == shelf.profile}
        more = made.count(shelf.profile)
        assert len(living) == (0 if stock.is_draining else min(shelf.wanted, len(set(shelf.ready) - shelf.gone)))
        assert more == 0 or len(living) + shelf.making + more <= shelf.wanted
        assert not (more and (stock.is_draining or shelf.is_resting or not stock.may_make))


@pytest.mark.parametrize(
    ("shelves", "expected"),
    [
        ([], None),
        ([shelf()], None),
        ([shelf(ready="x"), shelf("b", ready="yz")], Drop("b", "z")),
    ],
)
def test_the_fullest_shelf_gives_way_first(shelves: list[Shelf], expected: Drop | None) -> None:
    assert gives_way(shelves) == expected


@pytest.fixture
def pools(worker_node: Any) -> Pools:
    return Pools(worker_node.redis, worker_node.runner, worker_node.keys, worker_node.tracker.identity)


def test_a_job_gets_the_one_that_waits_longest_and_a_drop_after_that_keeps_it(worker_node: Any, pools: Pools) -> None:
    assert all(pools.push("default", name) for name in ("first", "second"))
    answer = worker_node.tracker.acquire(worker_node.submit(), "n-1:x", draining=False, room=False)

    assert isinstance(answer, answers.Leased)
    assert answer.sandbox == "first"
    assert pools.ready(["default", "other"]) == [("second",), ()]
    assert not pools.drop("default", "first")
    assert pools.drop("default", "second")
    assert pools.ready(["default"]) == [()]


def test_an_incarnation_that_lost_its_name_offers_nothing(worker_node: Any, pools: Pools, new_node: Any) -> None:
    new_node("n", "n-2").adopt()

    assert not pools.push("default", "late")
