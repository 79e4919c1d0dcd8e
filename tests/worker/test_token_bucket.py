"""How fast may a job go? The token bucket by its clock."""

from leasebox_worker.token_bucket import TokenBucket


def test_a_burst_is_free_and_the_rest_waits_its_turn() -> None:
    bucket = TokenBucket(rate=10.0, burst=20.0, now=0.0)

    assert bucket.take(20, 0.0) == 0.0
    assert bucket.take(5, 0.0) == 0.5
    assert bucket.take(5, 0.0) == 1.0


def test_it_fills_with_time_up_to_its_burst() -> None:
    bucket = TokenBucket(rate=10.0, burst=20.0, now=0.0)
    bucket.take(20, 0.0)

    assert bucket.take(10, 1.0) == 0.0
    assert bucket.take(20, 1000.0) == 0.0
    assert bucket.take(1, 1000.0) == 0.1
