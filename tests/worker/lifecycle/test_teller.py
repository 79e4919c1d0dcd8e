"""Who tells Flower of all jobs, and what if that node goes? Real scripts ring; what is published is noted."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from leasebox.contract.scripts.worker import Why
from leasebox_worker.lifecycle.shown import Event
from leasebox_worker.lifecycle.teller import Teller


class Watched:
    """A teller, and what it published; `fails` makes the next message be lost."""

    def __init__(self, worker_node: Any, name: str) -> None:
        self.events: list[Event] = []
        self.fails = False
        self.teller = Teller(worker_node.redis, worker_node.keys, name, publish=self._publish, running=lambda: 3)

    def _publish(self, events: list[Event]) -> None:
        if self.fails:
            raise ConnectionError("lost on the way")
        self.events += events

    def told(self, job: str) -> list[str]:
        """What was told of a job, after a round of the duty."""
        self.teller.tell()
        return [event.type.removeprefix("task-") for event in self.events if event.fields.get("uuid") == job]


@pytest.fixture
def new_teller(worker_node: Any) -> Iterator[Callable[[str], Watched]]:
    with ExitStack() as stack:

        def make(name: str) -> Watched:
            made = Watched(worker_node, name)
            stack.callback(made.teller.close)
            made.teller.asked()
            return made

        yield make


def _starts(worker_node: Any, job: str) -> Any:
    work = worker_node.claim(job)
    worker_node.tracker.bind(work, "box", why="lost")
    worker_node.tracker.start(work, deadline_s=5.0, sandbox_name="box")
    return work


def test_a_job_is_told_step_by_step_also_while_it_waits_behind_another(
    worker_node: Any, new_teller, eventually
) -> None:
    flower = new_teller("n")
    flower.teller.tell()
    first, second = worker_node.submit("s"), worker_node.submit("s")
    eventually(lambda: flower.told(second) == ["sent"])
    work = _starts(worker_node, first)
    eventually(lambda: flower.told(first) == ["sent", "received", "started"])
    worker_node.settle(work)

    eventually(lambda: flower.told(first)[-1] == "succeeded")
    assert flower.told(second) == ["sent"]
    worker_node.cancel(second)
    eventually(lambda: flower.told(second) == ["sent", "revoked"])


def test_a_job_that_was_given_back_before_it_started_shows_as_retried(worker_node: Any, new_teller, eventually) -> None:
    flower, job = new_teller("n"), worker_node.submit()
    work = worker_node.claim(job)
    eventually(lambda: flower.told(job) == ["sent", "received"])
    worker_node.tracker.give_up(work, Why.START_FAILED, "no image")

    eventually(lambda: flower.told(job) == ["sent", "received", "retried"])


def test_who_begins_to_watch_sees_what_waits_and_what_runs(worker_node: Any, new_teller, eventually) -> None:
    waits, runs = worker_node.submit(), worker_node.submit()
    _starts(worker_node, runs)
    flower = new_teller("n")

    eventually(lambda: flower.told(waits) == ["sent"])
    assert flower.told(runs) == ["sent", "received", "started"]


def test_one_node_tells_and_another_goes_on_where_it_stopped(worker_node: Any, new_teller, eventually) -> None:
    first, second = new_teller("n"), new_teller("m")
    job = worker_node.submit()
    eventually(lambda: first.told(job) == ["sent"])
    assert second.told(job) == []
    done = _starts(worker_node, job)
    worker_node.settle(done)
    second.teller.tell()  # heard, and kept
    first.teller.close()

    eventually(lambda: second.told(job) == ["sent", "received", "started", "succeeded"])
    assert first.events[-1].type == "worker-offline"


def test_what_could_not_be_published_is_told_later(worker_node: Any, new_teller, eventually) -> None:
    flower = new_teller("n")
    flower.teller.tell()
    flower.fails = True
    job = worker_node.submit()
    worker_node.cancel(job)
    eventually(lambda: _cannot_tell(flower))
    flower.fails = False

    eventually(lambda: flower.told(job) == ["sent", "revoked"])


def _cannot_tell(flower: Watched) -> bool:
    try:
        flower.teller.tell()
    except ConnectionError:
        return True
    return False  # the bell's message was not there yet


def test_nothing_is_told_while_nobody_watches(worker_node: Any, new_teller, eventually) -> None:
    flower = new_teller("n")
    eventually(lambda: flower.told(worker_node.submit()) != [])
    flower.teller.ignored()
    flower.events.clear()

    assert flower.told(worker_node.submit()) == []
    assert worker_node.redis.pubsub_numsub(worker_node.keys.bell())[0][1] == 0


def test_a_watched_worker_says_that_it_lives_and_how_much_it_runs(new_teller) -> None:
    flower = new_teller("n")
    flower.teller.tell()

    (alive,) = flower.events
    assert (alive.type, alive.node, alive.fields["active"]) == ("worker-heartbeat", "n", 3)
