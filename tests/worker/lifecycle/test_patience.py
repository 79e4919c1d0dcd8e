"""How long a script waits for a Redis that is away."""

import threading
from typing import Any

import pytest
import redis as redis_py
from tests.relay import Relay

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import node
from leasebox_worker.lifecycle.patience import PatientRunner


def _client(url: str) -> redis_py.Redis:
    return redis_py.Redis.from_url(url, socket_timeout=1.0)


def test_a_script_whose_answers_are_lost_is_asked_again(redis_server: Any, prefix: str) -> None:
    relay = Relay(redis_server.socket)
    relay.cut_rate = 0.1
    runner = PatientRunner(_client(relay.url), within_s=60.0)

    answers = [runner.run(node.expire(Keys(prefix))) for _ in range(60)]

    relay.close()
    assert [answer.jobs for answer in answers] == [0] * 60
    assert relay.cuts > 2


def test_a_script_waits_for_a_redis_that_hangs(redis_server: Any, prefix: str) -> None:
    relay = Relay(redis_server.socket)
    relay.swallow = lambda _: True
    asked, answered = threading.Event(), threading.Event()

    def ask() -> None:
        asked.set()
        PatientRunner(_client(relay.url), within_s=60.0).run(node.expire(Keys(prefix)))
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    assert asked.wait(30.0)
    assert not answered.wait(1.5)
    relay.swallow = lambda _: False

    assert answered.wait(30.0)
    relay.close()


def test_patience_has_an_end(prefix: str) -> None:
    runner = PatientRunner(redis_py.Redis(port=1), within_s=0.2)

    with pytest.raises(redis_py.ConnectionError):
        runner.run(node.expire(Keys(prefix)))


def test_output_waits_for_memory_and_is_not_refused(new_redis: Any, prefix: str, eventually: Any) -> None:
    from tests.worker.conftest import NodeUnderTest

    from leasebox.contract.scripts import worker

    redis = new_redis().connect()
    one = NodeUnderTest(redis, prefix)
    one.adopt()
    work = one.claim(one.submit())
    one.tracker.start(work, deadline_s=5.0, sandbox_name="box")
    redis.config_set("maxmemory", 1)
    chunks = [worker.Chunk(seq=16, type="stdout", data=b"word")]
    call = worker.emit(one.keys, job=work.job, lease=work.lease, claims=work.claims, chunks=chunks)
    answered = threading.Event()

    def emit() -> None:
        PatientRunner(redis, within_s=60.0).run(call)
        answered.set()

    threading.Thread(target=emit, daemon=True).start()
    assert not answered.wait(0.5)
    redis.config_set("maxmemory", 0)

    assert answered.wait(30.0)


def test_plain_commands_are_asked_again_too(redis_server: Any, prefix: str) -> None:
    relay = Relay(redis_server.socket)
    relay.cut_rate = 0.1
    runner = PatientRunner(_client(relay.url), within_s=60.0)

    lengths = [runner.send([("SETRANGE", prefix, at, b"x"), ("STRLEN", prefix)])[1] for at in range(60)]

    relay.close()
    assert lengths == list(range(1, 61))
    assert relay.cuts > 2
