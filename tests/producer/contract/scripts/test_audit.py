"""Does the chain grow at its end alone, whoever writes at the same time, and stay within its bound?"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from leasebox.contract.audit import START, Door, Head, Record, Signer
from leasebox.contract.scripts import Runner, audit

SIGNER = Signer(b"a key of 16 bytes")


def record(target: str = "x") -> Record:
    return Record(at=1.5, door=Door.CLI, action="key.create", target=target)


def write(desk: Any, *targets: str, head: Head = START, keep: int = 100) -> Head:
    flow = audit.written(desk.keys, SIGNER, [record(target) for target in targets], head, keep=keep)
    call = next(flow)
    try:
        while True:
            call = flow.send(desk.run(call))
    except StopIteration as end:
        return end.value


def chain(desk: Any) -> list[tuple[int, str]]:
    entries = desk.redis.xrange(desk.keys.audit())
    return [(int(place.split(b"-")[0]), json.loads(fields[b"json"])["target"]) for place, fields in entries]


def test_entries_come_behind_the_last_one_also_for_who_does_not_know_it(desk):
    first = write(desk, "a", "b")
    second = write(desk, "c")

    assert chain(desk) == [(1, "a"), (2, "b"), (3, "c")]
    assert (first.n, second.n) == (2, 3)
    assert desk.redis.hmget(desk.keys.audit_head(), "n", "hash") == [b"3", second.hash.encode()]


def test_who_was_not_the_first_is_told_the_end(desk):
    head = write(desk, "a")
    late = audit.append(desk.keys, head=START, entries=SIGNER.chained(START, [record("late")]))

    assert desk.run(late) == audit.Moved(head)
    assert chain(desk) == [(1, "a")]


def test_a_call_whose_answer_was_lost_is_not_written_twice_even_when_others_have_written_since(desk):
    lost = audit.append(desk.keys, head=START, entries=SIGNER.chained(START, [record("a")]))
    desk.run(lost)
    write(desk, "b")

    assert desk.run(lost) == audit.Appended()
    assert chain(desk) == [(1, "a"), (2, "b")]


def test_writers_at_the_same_time_lose_nothing_and_break_nothing(desk, redis_server):
    def many(name: str) -> None:
        with redis_server.connect() as client:
            runner, head = Runner(client), START
            for number in range(40):
                flow = audit.written(desk.keys, SIGNER, [record(f"{name}{number}")], head)
                call = next(flow)
                try:
                    while True:
                        call = flow.send(runner.run(call))
                except StopIteration as end:
                    head = end.value

    threads = [threading.Thread(target=many, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    found = chain(desk)
    assert [n for n, _ in found] == list(range(1, 161))
    for name in "abcd":
        assert [target for _, target in found if target[0] == name] == [f"{name}{number}" for number in range(40)]


def test_the_newest_stay_and_the_last_that_was_cut_off_is_remembered(desk):
    sealed = SIGNER.chained(START, [record(str(n)) for n in range(1, 8)])
    for n in range(1, 8):
        write(desk, str(n), keep=4)

    assert [n for n, _ in chain(desk)] == [4, 5, 6, 7]
    assert desk.redis.hmget(desk.keys.audit_head(), "cut_n", "cut_hash") == [b"3", sealed[2].hash.encode()]


@pytest.mark.parametrize("head", [{}, {"n": "1", "hash": "x"}])
def test_a_head_that_was_tampered_with_does_not_stop_the_chain(desk, head):
    write(desk, "a", "b")
    desk.redis.delete(desk.keys.audit_head())
    if head:
        desk.redis.hset(desk.keys.audit_head(), mapping=head)

    write(desk, "c")

    assert chain(desk) == [(1, "a"), (2, "b"), (3, "c")]
