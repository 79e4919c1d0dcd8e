"""Does a worker write down what it sees, wait for a Redis that is away, and say what it could not write?"""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from leasebox.contract.audit import Door, Record, Signer
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox_worker.telemetry.audit import AuditLog, write


def entries(redis: Any, prefix: str) -> list[dict[str, Any]]:
    return [json.loads(fields[b"json"]) for _, fields in redis.xrange(Keys(prefix).audit())]


@pytest.fixture
def log(redis: Any, prefix: str) -> AuditLog:
    return AuditLog(Runner(redis), Keys(prefix), Signer(), "n")


def test_what_is_noted_is_written_with_its_node(log: AuditLog, redis: Any, prefix: str) -> None:
    log.note("job.run", "j", "invalid_spec", tenant="acme", session=None, count=2)
    assert entries(redis, prefix) == []
    log.flush()
    log.flush()

    (found,) = entries(redis, prefix)
    assert (found["actor"], found["door"], found["tenant"], found["target"]) == ("n", "worker", "acme", "j")
    assert found["more"] == {"count": 2}


def test_what_could_not_be_written_is_written_later_and_once(log: AuditLog, redis: Any, prefix: str) -> None:
    keys = Keys(prefix)
    redis.set(keys.audit_head(), "in the way")
    log.note("a", "1", "ok")
    with pytest.raises(Exception, match="WRONGTYPE"):
        log.flush()
    redis.delete(keys.audit_head())
    log.note("a", "2", "ok")
    log.flush()

    assert [one["target"] for one in entries(redis, prefix)] == ["1", "2"]


@pytest.mark.parametrize("is_heard", [True, False])
def test_what_is_lost_at_the_end_is_said(log: AuditLog, redis: Any, prefix: str, is_heard: bool) -> None:
    redis.set(Keys(prefix).audit_head(), "in the way")
    log.note("a", "1", "ok")
    with capture_logs() as told:
        log.end(is_heard=is_heard)

    assert [one["count"] for one in told if one["event"] == "audit_lost"] == [1]


def test_an_end_writes_the_rest(log: AuditLog, redis: Any, prefix: str) -> None:
    log.note("a", "1", "ok")
    with capture_logs() as told:
        log.end(is_heard=True)

    assert (len(entries(redis, prefix)), told) == (1, [])


def test_more_than_one_script_takes_are_written_in_order(redis: Any, prefix: str) -> None:
    records = [Record(1.0, Door.CLI, "a", target=str(number)) for number in range(600)]
    head = write(Runner(redis), Keys(prefix), Signer(), records)

    assert head.n == 600
    assert [one["target"] for one in entries(redis, prefix)] == [str(number) for number in range(600)]
