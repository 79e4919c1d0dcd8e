"""Asking again while Redis is away."""

import threading
from typing import Any

import pytest
import redis as redis_py
from tests.conftest import Eventually

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox_worker.lifecycle.patient import PatientRunner


def away() -> Runner:
    return Runner(redis_py.Redis(unix_socket_path="/nonexistent/socket"))


def test_a_redis_that_comes_back_is_asked_again(new_redis: Any, tmp_path, eventually: Eventually) -> None:
    server, answers = new_redis(), []
    link = tmp_path / "s"
    patient = PatientRunner(Runner(redis_py.Redis(unix_socket_path=str(link))), patience_s=60.0)
    call = node.resend(Keys(), queue="q")
    threading.Thread(target=lambda: answers.append(patient.run(call)), daemon=True).start()
    assert answers == []

    link.symlink_to(server.socket)
    assert eventually(lambda: answers) == [0]


def test_patience_ends() -> None:
    with pytest.raises(redis_py.ConnectionError):
        PatientRunner(away(), patience_s=0.0).run(node.resend(Keys(), queue="q"))


def test_nobody_waits_for_redis_in_a_process_that_leaves() -> None:
    patient = PatientRunner(away(), patience_s=60.0)
    patient.close()

    with pytest.raises(redis_py.ConnectionError):
        patient.run(node.resend(Keys(), queue="q"))


def test_what_redis_refuses_is_not_asked_again(redis, prefix) -> None:
    keys = Keys(prefix)
    redis.set(keys.deferred(), "not a sorted set")

    with pytest.raises(redis_py.ResponseError):
        PatientRunner(Runner(redis), patience_s=60.0).run(node.expire(keys))
