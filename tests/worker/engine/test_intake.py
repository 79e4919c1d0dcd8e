"""Which queues are open, for which reasons and with which slots taken."""

import pytest

from leasebox_worker.engine.intake import Gate, Intake, Pause, Slots, open_queues

SHARED = {"leasebox.interactive", "leasebox.default", "leasebox.batch"}
OWN = {"leasebox.node.n.interactive", "leasebox.node.n.default", "leasebox.node.n.batch"}
INTERACTIVE = {"leasebox.interactive", "leasebox.node.n.interactive"}


@pytest.mark.parametrize(
    ("reasons", "busy", "bulk", "queues"),
    [
        (set(), 0, 0, SHARED | OWN),
        ({Pause.FULL}, 0, 0, OWN),
        ({Pause.DRAINING}, 0, 0, set()),
        ({Pause.FENCED}, 0, 0, set()),
        ({Pause.ENGINE_DOWN}, 0, 0, OWN),
        ({Pause.FULL, Pause.DRAINING}, 0, 0, set()),
        (set(), 2, 2, SHARED | OWN),
        (set(), 3, 3, INTERACTIVE),
        (set(), 3, 0, SHARED | OWN),
        (set(), 4, 3, set()),
        (set(), 4, 0, set()),
        ({Pause.FULL}, 3, 3, {"leasebox.node.n.interactive"}),
    ],
)
def test_open_queues(reasons: set[Pause], busy: int, bulk: int, queues: set[str]) -> None:
    assert open_queues("n", reasons, Slots(4, 1), busy=busy, bulk=bulk) == queues


@pytest.mark.parametrize(("total", "interactive", "for_bulk"), [(4, 1, 3), (4, 0, 4), (1, 1, 1), (2, 5, 1)])
def test_some_slot_is_always_left_to_the_other_classes(total: int, interactive: int, for_bulk: int) -> None:
    assert Slots(total, interactive).for_bulk == for_bulk


def test_a_slot_is_counted_until_it_is_given_back() -> None:
    gate = Gate("n", Slots(2, 1), Intake())
    give_back = gate.take("leasebox.batch")
    held = gate.open_queues()
    give_back()

    assert (held, gate.open_queues(), gate.taken) == (INTERACTIVE, SHARED | OWN, 1)


def test_a_change_is_told_once_and_a_repeat_is_none() -> None:
    intake, told = Intake(), []
    intake.changed = lambda: told.append(intake.reasons)
    for change in (intake.pause, intake.pause, intake.resume, intake.resume):
        change(Pause.FULL)

    assert told == [{Pause.FULL}, frozenset()]


def test_only_a_node_that_lacks_new_sandboxes_may_still_claim_for_the_sandboxes_it_has() -> None:
    intake = Intake()
    intake.pause(Pause.FULL)
    full = intake.is_stopped
    intake.pause(Pause.FENCED)

    assert (full, intake.is_stopped) == (False, True)
