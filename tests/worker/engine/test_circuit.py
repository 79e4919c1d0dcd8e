"""When the node believes that its engine is down, and when it is convinced of the opposite."""

import pytest

from leasebox_worker.drivers.base import EngineDown
from leasebox_worker.engine import circuit
from leasebox_worker.engine.circuit import Circuit


class Engine:
    """An engine that is up or down as the test says."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked = 0

    def ping(self) -> None:
        self.asked += 1
        if not self.is_up:
            raise EngineDown("no answer")


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Circuit, list[bool]]:
    """A circuit, with what it told; every probe is due."""
    for name in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S", "LOOK_S"):
        monkeypatch.setattr(circuit, name, 0.0)
    made, changes = Circuit(engine.ping), []
    made.changed = changes.append
    return made, changes


def test_a_probe_opens_the_circuit_and_a_later_one_closes_it_each_told_once(
    engine: Engine, told: tuple[Circuit, list[bool]]
) -> None:
    made, changes = told
    made.probe()
    engine.is_up = False
    made.probe()
    made.probe()
    was_open = made.is_open
    engine.is_up = True
    made.probe()
    made.probe()

    assert was_open
    assert changes == [True, False]
    assert not made.is_open


def test_a_failed_start_opens_it_at_once_and_again_is_told_once(told: tuple[Circuit, list[bool]]) -> None:
    made, changes = told
    made.trip(EngineDown("refused"))
    made.trip(EngineDown("refused"))

    assert (made.is_open, changes) == (True, [True])


def test_an_engine_that_is_down_is_asked_less_and_less_often(engine: Engine) -> None:
    made = Circuit(engine.ping)
    engine.is_up = False
    made.probe()
    pauses = []
    for _ in range(6):
        made._next_look = 0.0
        made.probe()
        pauses.append(made._pause_s)

    assert pauses == [4.0, 8.0, 15.0, 15.0, 15.0, 15.0]


def test_between_looks_the_engine_is_left_alone(engine: Engine) -> None:
    made = Circuit(engine.ping)
    made.probe()
    made.probe()

    assert engine.asked == 1
