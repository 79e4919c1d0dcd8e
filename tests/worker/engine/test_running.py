"""Which claim runs in which sandbox; everything is asked for by lease."""

from types import SimpleNamespace
from typing import Any

from leasebox_worker.engine.running import Running


class Link:
    """Notes what was cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def cancel(self, lease: str, _grace_s: float) -> None:
        self.cancelled.append(lease)


def work(lease: str) -> Any:
    return SimpleNamespace(job="j", lease=lease)


def sandbox() -> Any:
    return SimpleNamespace(link=Link())


def test_a_later_claim_gets_the_older_ones_sandbox_to_end_it() -> None:
    running, first, second = Running(), sandbox(), sandbox()

    assert running.put(work("n:1"), first) is None
    assert running.put(work("n:2"), second) is first
    assert running.take("j", "n:1") is None
    assert running.take("j", "n:2") is second
    assert len(running) == 0


def test_a_cancel_before_the_program_is_repeated_after_it() -> None:
    running, box = Running(), sandbox()
    running.put(work("n:1"), box)
    running.cancel_again(work("n:1"), 1.0)
    before = list(box.link.cancelled)
    running.cancel("j", 1.0)
    running.cancel_again(work("n:1"), 1.0)

    assert before == []
    assert box.link.cancelled == ["n:1", "n:1"]


def test_a_cancel_of_what_does_not_run_here_is_nothing() -> None:
    Running().cancel("j", 1.0)
