"""Are calls that are sent ahead of their answers run in order and once, whatever happens to their connection?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from leasebox.contract.scripts import Conversation, Runner, client, client_answers

NAME = "conversation"


@pytest.fixture
def speaker(redis_server) -> Iterator[redis_py.Redis]:
    with redis_py.Redis(unix_socket_path=str(redis_server.socket), client_name=NAME) as connection:
        yield connection


@pytest.fixture
def talk(speaker) -> Conversation:
    return Conversation(speaker, Runner(speaker))


def portions(desk, count: int = 3) -> tuple[list[str], list[list]]:
    """Submits of one session, two in each portion, and the ids of their jobs in order."""
    records = [desk.record(session="s") for _ in range(2 * count)]
    calls = [client.submit(desk.keys, record=record) for record in records]
    return [record.job for record in records], [calls[at : at + 2] for at in range(0, len(calls), 2)]


def run(talk: Conversation, sent: list[list]) -> list:
    """All portions, each sent before the answers to the one before are read."""
    found = []
    for number, calls in enumerate(sent):
        talk.send(calls)
        if number:
            found += talk.answers()
    return found + talk.answers()


def pending(desk) -> list[str]:
    return [job.decode() for job in desk.redis.lrange(desk.keys.pending("acme", "s"), 0, -1)]


def test_portions_run_in_order_over_one_connection_that_goes_back(desk, speaker, talk):
    jobs, sent = portions(desk)

    assert [answer.job for answer in run(talk, sent)] == jobs
    assert pending(desk) == jobs
    del talk
    assert speaker.ping()
    assert len([found for found in desk.redis.client_list() if found["name"] == NAME]) <= 2


def test_a_cut_connection_loses_nothing_and_doubles_nothing(desk, talk):
    jobs, sent = portions(desk)
    talk.send(sent[0])
    talk.send(sent[1])
    for found in desk.redis.client_list():
        if found["name"] == NAME:
            desk.redis.client_kill_filter(_id=found["id"])
    answers = [*talk.answers()]
    talk.send(sent[2])
    answers += talk.answers() + talk.answers()

    assert [answer.job for answer in answers] == jobs
    assert pending(desk) == jobs


def test_scripts_that_redis_forgot_meanwhile_run_all_the_same(desk, talk):
    jobs, sent = portions(desk)
    talk.send(sent[0])
    assert [answer.job for answer in talk.answers()] == jobs[:2]
    talk.send(sent[1])
    first = talk.answers()
    desk.redis.script_flush()

    assert [answer.job for answer in first + run(talk, sent[2:])] == jobs[2:]
    assert pending(desk) == jobs


def test_a_call_that_fails_does_not_hide_the_others(desk, talk):
    desk.redis.set(desk.keys.job("bad"), "wrong type")
    talk.send([client.submit(desk.keys, record=desk.record(job)) for job in ("bad", "good")])

    bad, good = talk.answers()

    assert isinstance(bad, ResponseError)
    assert isinstance(good, client_answers.Accepted)


def test_a_connection_with_answers_that_nobody_reads_is_closed(desk, speaker):
    talk = Conversation(speaker, Runner(speaker))
    talk.send(portions(desk)[1][0])
    (one,) = speaker.connection_pool._in_use_connections
    del talk

    assert not one.is_connected
    assert speaker.ping()


def test_a_portion_without_calls_has_no_answers(talk):
    talk.send([])

    assert talk.answers() == []
