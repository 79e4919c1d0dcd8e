"""How an observer counts the silence of nodes: by its own clock, and only while Redis answers."""

import pytest

from leasebox_worker.lifecycle.silence import Silence


def looked(*looks: tuple[float, dict[str, float]]) -> Silence:
    silence = Silence(period_s=1.0)
    for now, counters in looks:
        silence.look(counters, now)
    return silence


@pytest.mark.parametrize(
    ("looks", "silent"),
    [
        ([(0.0, {"n": 1.0})], {}),
        ([(float(at), {"n": 1.0}) for at in range(4)], {"n": 1.0}),
        ([(0.0, {"n": 1.0}), (1.0, {"n": 1.0}), (2.0, {"n": 2.0}), (3.0, {"n": 2.0})], {}),
        ([(0.0, {"n": 7.0}), (1.0, {"n": 7.0}), (31.0, {"n": 7.0}), (32.0, {"n": 7.0})], {}),
        ([(0.0, {"n": 1.0}), (1.0, {"n": 1.0}), (2.0, {}), (3.0, {"n": 1.0}), (4.0, {"n": 1.0})], {}),
    ],
    ids=["first look", "stands still", "moves", "Redis was away", "was forgotten meanwhile"],
)
def test_only_a_counter_that_stands_still_while_redis_answers_is_silent(looks, silent) -> None:
    assert looked(*looks).silent(3.0) == silent


def test_after_a_gap_every_silence_starts_anew() -> None:
    silence = looked(*((float(at), {"n": 1.0}) for at in [0, 1, 2, 60, 61, 62]))

    assert silence.silent(3.0) == {}
    silence.look({"n": 1.0}, 63.0)
    assert silence.silent(3.0) == {"n": 1.0}


def test_how_long_redis_has_answered_starts_anew_after_a_gap() -> None:
    assert looked((0.0, {}), (1.0, {}), (3.0, {})).answering_s == 3.0
    assert looked((0.0, {}), (1.0, {}), (60.0, {}), (61.0, {})).answering_s == 1.0
