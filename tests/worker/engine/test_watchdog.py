"""When is a consumer called dead, and what is done about it?"""

from typing import Any

import pytest
import redis as redis_py

from leasebox_worker.engine.intake import Gate, Intake, Pause, Slots
from leasebox_worker.engine.watchdog import Verdict, Watchdog, verdict


@pytest.mark.parametrize(
    ("stalled_s", "since_first_s", "restarts", "busy", "expected"),
    [
        (9.9, 9.9, 0, 0, Verdict.WAIT),
        (10.0, 10.0, 0, 0, Verdict.RESTART),
        (10.0, 30.0, 2, 5, Verdict.RESTART),
        (9.9, 39.9, 3, 0, Verdict.WAIT),
        (10.0, 40.0, 3, 0, Verdict.END),
        (10.0, 99.9, 3, 1, Verdict.WAIT),
        (10.0, 100.0, 3, 1, Verdict.END),
    ],
)
def test_verdict(stalled_s: float, since_first_s: float, restarts: int, busy: int, expected: Verdict) -> None:
    answer = verdict(stalled_s=stalled_s, since_first_s=since_first_s, restarts=restarts, busy=busy, stall_s=10.0)

    assert answer == expected


class Dog:
    """A watchdog that calls everything stalled at once, over queues that only this test has."""

    def __init__(self, redis: redis_py.Redis, node: str) -> None:
        self.intake, self.acts = Intake(), []
        self.gate = Gate(node, Slots(1, 0), self.intake)
        self.intake.pause(Pause.FULL)  # leaves the node's own queues
        self.watchdog = Watchdog(
            redis, self.gate, stall_s=0.0,
            restart=lambda: self.acts.append("restart"), end=lambda: self.acts.append("end"),
        )  # fmt: skip
        self.queue = f"leasebox.node.{node}.batch"


@pytest.fixture
def dog(redis: redis_py.Redis, prefix: str) -> Dog:
    return Dog(redis, prefix)


def test_a_consumer_that_takes_nothing_is_restarted_three_times_then_the_process_ends(dog: Dog, redis: Any) -> None:
    redis.lpush(dog.queue, "m")
    for _ in range(4):
        dog.watchdog.look()

    assert dog.acts == ["restart", "restart", "restart", "end"]


def test_an_empty_queue_is_no_sign(dog: Dog) -> None:
    dog.watchdog.look()

    assert dog.acts == []


def test_taken_slots_are_the_reason_that_messages_wait(dog: Dog, redis: Any) -> None:
    redis.lpush(dog.queue, "m")
    dog.gate.take(dog.queue)
    dog.watchdog.look()
    dog.watchdog.look()

    assert dog.acts == []


def test_a_message_taken_clears_the_record(dog: Dog, redis: Any) -> None:
    redis.lpush(dog.queue, "m")
    for _ in range(3):
        dog.watchdog.look()
    dog.gate.take(dog.queue)()
    for _ in range(2):
        dog.watchdog.look()

    assert dog.acts == ["restart"] * 4


def test_a_redis_that_does_not_answer_is_not_the_consumers_fault(prefix: str) -> None:
    dog = Dog(redis_py.Redis(port=1), prefix)
    for _ in range(2):
        dog.watchdog.look()

    assert dog.acts == []
