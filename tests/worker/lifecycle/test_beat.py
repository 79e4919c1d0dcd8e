"""A duty goes on whatever happens to it."""

import threading

import pytest
import redis

from leasebox_worker.lifecycle.beat import Beat


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), KeyError("job"), OSError("no descriptor")])
def test_a_duty_that_fails_is_tried_again(error: Exception) -> None:
    calls, again = [error], threading.Event()

    def duty() -> None:
        if calls:
            raise calls.pop()
        again.set()

    beat = Beat("test", duty, 0.01)
    beat.start()

    assert again.wait(30.0)
    beat.stop()


def test_a_stopped_beat_calls_no_more() -> None:
    called = threading.Event()
    beat = Beat("test", called.set, 0.001)
    beat.start()
    assert called.wait(30.0)
    beat.stop()
    called.clear()

    assert not called.wait(0.05)
