"""Is every end told at least once, under one id, and does the log say what happened? Real receivers, real Redis."""

import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.conftest import Eventually
from tests.worker.conftest import NodeUnderTest
from tests.worker.webhooks.conftest import KEY, Book
from tests.worker.webhooks.receiver import Receiver, receiving

from leasebox.contract.scripts import client as scripts
from leasebox.contract.scripts import webhooks
from leasebox_worker.engine.outbox import Outbox
from leasebox_worker.webhooks.deliverer import Deliverer
from leasebox_worker.webhooks.message import MAX_RESULT_BYTES
from leasebox_worker.webhooks.post import Poster

PROGRAM = Path(__file__).with_name("delivering_program.py")


@pytest.fixture
def deliverer(worker_node: NodeUnderTest, book: Book) -> Deliverer:
    """Of a node for which hooks.test is allowed."""
    return Deliverer(worker_node.redis, worker_node.keys, Poster(KEY, {"hooks.test"}, ways=book.ways, within_s=2.0))


def log_of(node: NodeUnderTest, member: str) -> list[tuple[int, str, str]]:
    entries = [fields for _, fields in node.redis.xrange(node.keys.webhook_log(member))]
    return [(int(e[b"attempt"]), e[b"status"].decode(), e[b"error"].decode()) for e in entries]


def attempts(result: str) -> float:
    return REGISTRY.get_sample_value("leasebox_webhook_attempts_total", {"result": result}) or 0.0


def make_due(node: NodeUnderTest) -> None:
    """Let the time until the next attempts pass."""
    for member in node.redis.zrange(node.keys.webhook_due(), 0, -1):
        node.redis.zadd(node.keys.webhook_due(), {member: 1})


def test_the_end_of_a_job_is_told_with_its_result(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver
) -> None:
    job = worker_node.submit(callback_url=receiver.url(), metadata_json='{"order":"7"}')
    work = worker_node.claim(job)
    worker_node.tracker.bind(work, "box", why="lost")
    worker_node.tracker.start(work, deadline_s=5.0, sandbox_name="box")
    deliverer.look()
    assert receiver.received == []
    worker_node.settle(work)

    deliverer.look()

    (one,) = receiver.received
    told = json.loads(one.body)
    assert (told["type"], told["data"]["job"], told["data"]["outcome"]) == ("job.finished", job, "ok")
    assert (told["data"]["metadata"], told["data"]["result"]["job"]) == ({"order": "7"}, job)
    assert told["data"]["submitted_at"] <= told["data"]["started_at"] <= told["data"]["finished_at"]
    assert b"print(42)" not in one.body
    assert log_of(worker_node, job) == [(1, "204", "")]


def test_an_end_that_no_worker_saw_is_told_too_and_a_long_result_is_left_out(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver
) -> None:
    cancelled, long = (worker_node.submit(callback_url=receiver.url()) for _ in range(2))
    worker_node.cancel(cancelled)
    worker_node.cancel(long)
    worker_node.redis.setrange(worker_node.keys.meta(long), MAX_RESULT_BYTES, b"x")

    deliverer.look()

    told = {data["job"]: data for data in (json.loads(one.body)["data"] for one in receiver.received)}
    assert (told[cancelled]["outcome"], told[cancelled]["result"]["outcome"]) == ("cancelled", "cancelled")
    assert (told[long]["outcome"], told[long]["result"]) == ("cancelled", None)


def test_the_end_of_a_batch_is_told_once_for_all(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver
) -> None:
    run, keys = worker_node.runner.run, worker_node.keys
    opened = {"batch": "b", "tenant": "acme", "name": "nightly", "result_ttl_s": 60, "callback_url": receiver.url()}
    run(scripts.open_batch(keys, **opened))  # type: ignore[arg-type]
    for _ in range(2):
        worker_node.cancel(worker_node.submit(batch="b"))
    deliverer.look()
    assert receiver.received == []
    run(scripts.seal(keys, batch="b", tenant="acme"))

    deliverer.look()

    (one,) = receiver.received
    told = json.loads(one.body)
    assert (one.headers["webhook-id"], told["type"]) == ("b", "batch.finished")
    assert (told["data"]["name"], told["data"]["total"], told["data"]["by_outcome"]) == ("nightly", 2, {"cancelled": 2})


def test_what_fails_is_tried_again_under_the_same_id_until_it_is_taken_in(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver
) -> None:
    job = worker_node.submit(callback_url=receiver.url())
    worker_node.cancel(job)
    receiver.statuses = [500, 503]
    failed_before = attempts("failed")

    deliverer.look()
    deliverer.look()
    assert len(receiver.received) == 1  # the next is due in 5 s
    assert attempts("failed") == failed_before + 1
    for _ in range(3):
        make_due(worker_node)
        deliverer.look()

    assert receiver.ids == [job] * 3
    assert len({one.body for one in receiver.received}) == 1
    assert log_of(worker_node, job) == [(1, "500", "answered 500"), (2, "503", "answered 503"), (3, "204", "")]
    assert worker_node.redis.zcard(worker_node.keys.webhook_due()) == 0


def test_a_private_address_is_refused_and_stands_in_the_log(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver, book: Book
) -> None:
    book.names["inside.test"] = ["127.0.0.1"]
    job = worker_node.submit(callback_url=receiver.url("inside.test", scheme="https"))
    worker_node.cancel(job)

    deliverer.look()

    assert receiver.received == []
    assert log_of(worker_node, job) == [(1, "", "refused: its address is not one of the public internet")]


def test_a_slow_receiver_keeps_no_other_waiting(
    worker_node: NodeUnderTest, book: Book, receiver: Receiver, eventually: Eventually
) -> None:
    poster = Poster(KEY, {"hooks.test"}, ways=book.ways, within_s=60.0)
    deliverer = Deliverer(worker_node.redis, worker_node.keys, poster)
    receiver.gate.clear()
    worker_node.cancel(worker_node.submit(callback_url=receiver.url()))
    looking = threading.Thread(target=deliverer.look)
    looking.start()
    try:
        eventually(lambda: receiver.received, within_s=10)
        with receiving() as other:
            worker_node.cancel(worker_node.submit(callback_url=other.url()))
            eventually(lambda: other.received, within_s=10)
            assert looking.is_alive()
    finally:
        receiver.gate.set()
        looking.join(20)


def test_two_nodes_share_what_is_due_and_deliver_nothing_twice(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver, book: Book
) -> None:
    jobs = [worker_node.submit(callback_url=receiver.url()) for _ in range(40)]
    for job in jobs:
        worker_node.cancel(job)
    other = Deliverer(worker_node.redis, worker_node.keys, Poster(KEY, {"hooks.test"}, ways=book.ways))
    looking = [threading.Thread(target=one.look) for one in (deliverer, other)]
    for thread in looking:
        thread.start()
    for thread in looking:
        thread.join(30)

    assert sorted(receiver.ids) == sorted(jobs)


def test_a_replay_is_delivered_again(worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver) -> None:
    job = worker_node.submit(callback_url=receiver.url())
    worker_node.cancel(job)
    deliverer.look()
    worker_node.runner.run(webhooks.replay_job(worker_node.keys, job=job, tenant="acme"))

    deliverer.look()

    assert receiver.ids == [job, job]
    assert log_of(worker_node, job) == [(1, "204", ""), (1, "204", "")]


def test_a_test_is_delivered_once_also_when_it_fails(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver
) -> None:
    worker_node.runner.run(webhooks.try_out(worker_node.keys, test="t", tenant="acme", url=receiver.url()))
    receiver.statuses = [500]

    deliverer.look()

    (one,) = receiver.received
    assert (one.headers["webhook-id"], json.loads(one.body)["type"], json.loads(one.body)["data"]) == ("t", "test", {})
    assert worker_node.redis.zcard(worker_node.keys.webhook_due()) == 0


def test_a_node_that_stops_begins_no_delivery(
    worker_node: NodeUnderTest, deliverer: Deliverer, receiver: Receiver
) -> None:
    beat = Outbox(deliverer)
    beat.stop(0.0)
    worker_node.cancel(worker_node.submit(callback_url=receiver.url()))

    deliverer.look()

    assert receiver.received == []
    assert worker_node.redis.zcard(worker_node.keys.webhook_due()) == 1


@pytest.mark.slow
def test_a_deliverer_that_is_killed_between_post_and_removal_is_followed_by_another(
    worker_node: NodeUnderTest, receiver: Receiver, redis_server: Any, eventually: Eventually
) -> None:
    arguments = (str(redis_server.socket), worker_node.keys.prefix, "127.0.0.1", "2")

    def start(stack: ExitStack) -> subprocess.Popen[bytes]:
        child = stack.enter_context(subprocess.Popen([sys.executable, str(PROGRAM), *arguments]))
        stack.callback(child.kill)
        return child

    receiver.gate.clear()
    job = worker_node.submit(callback_url=receiver.url("127.0.0.1"))
    worker_node.cancel(job)
    with ExitStack() as stack:
        first = start(stack)
        eventually(lambda: receiver.received, within_s=30)
        first.kill()
        first.wait()
        receiver.gate.set()
        start(stack)
        eventually(lambda: worker_node.redis.zcard(worker_node.keys.webhook_due()) == 0, within_s=30)

    assert receiver.ids == [job, job]
    assert log_of(worker_node, job) == [(1, "", "its worker ended before it told"), (2, "204", "")]
