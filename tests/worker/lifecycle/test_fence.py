"""The fence of a node, by its own clock."""

import threading
import time

from tests.conftest import Eventually

from leasebox_worker.lifecycle.fence import Fence


def test_a_fence_shuts_by_the_clock_alone() -> None:
    assert not Fence(60.0).is_shut
    assert Fence(0.0).is_shut


def test_an_answer_counts_from_when_its_heartbeat_was_sent() -> None:
    fence = Fence(10.0)
    fence.answered(time.monotonic() - 11.0)
    assert not fence.is_shut, "an older answer takes nothing back"

    assert not fence.is_recent(time.monotonic() - 11.0)
    assert fence.is_recent(time.monotonic() - 9.0)


def test_once_shut_only_open_ends_it() -> None:
    fence = Fence(60.0)
    fence.shut()
    fence.answered(time.monotonic())
    assert fence.is_shut

    fence.open(time.monotonic())
    assert not fence.is_shut


def test_how_long_it_was_shut_counts_from_the_moment_when_the_clock_ran_out(eventually: Eventually) -> None:
    fence = Fence(0.01)
    born = time.monotonic()
    eventually(lambda: time.monotonic() - born > 0.1)
    fence.shut()

    assert fence.open(time.monotonic()) >= 0.08


def test_who_waits_goes_on_when_it_opens(eventually: Eventually) -> None:
    fence, went = Fence(60.0), []
    fence.shut()
    threading.Thread(target=lambda: went.append(fence.wait()), daemon=True).start()
    assert went == []

    fence.open(time.monotonic())
    assert eventually(lambda: went) == [True]


def test_nobody_waits_in_a_process_that_leaves(eventually: Eventually) -> None:
    fence, went = Fence(60.0), []
    fence.shut()
    threading.Thread(target=lambda: went.append(fence.wait()), daemon=True).start()
    fence.end()

    assert eventually(lambda: went) == [False]
