"""What does the consumer take, when, and what if it falls silent? A real Celery worker, spoken to by pipes."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.conftest import Eventually, RedisServer
from tests.relay import Relay

from leasebox._message import template
from leasebox.contract.queues import Priority, of_node, shared
from leasebox_worker.celery_pool import Refusals
from leasebox_worker.tasks import STALLED

PROGRAM = Path(__file__).with_name("consumer_program.py")
WITHIN_S = 30.0


class Consumer:
    """The program, what it printed, and the Redis that it consumes from."""

    def __init__(self, server: RedisServer, url: str, slots: int, interactive: int, stall_s: float) -> None:
        self.redis = server.connect()
        self.child = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, str(slots), str(interactive), str(stall_s)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.lines.append(line.strip())

    def say(self, word: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(f"{word}\n")
        self.child.stdin.flush()

    def wake(self, job: str, queue: str) -> None:
        """Push the wake-up of a job, as the scripts do."""
        wake = template().fill(job, shared(Priority(queue.rsplit(".", 1)[1])), "", "")  # also in a node's own queue
        self.redis.lpush(queue, wake.head + f"{job}.1".encode() + wake.tail)

    def took(self) -> list[str]:
        return [line.split()[1] for line in self.lines if line.startswith("took")]

    def asked(self) -> int:
        """How many BRPOPs the server has seen."""
        stats = self.redis.info("commandstats").get("cmdstat_brpop", {"calls": 0})
        return int(stats["calls"])

    def end(self) -> None:
        self.child.kill()
        self.child.wait()
        self.redis.close()


@pytest.fixture
def new_consumer(new_redis, eventually: Eventually) -> Iterator[Callable[..., Consumer]]:
    with ExitStack() as stack:

        def make(
            *,
            slots: int = 3,
            interactive: int = 1,
            stall_s: float = 60.0,
            server: RedisServer | None = None,
            url: str = "",
        ) -> Consumer:
            server = server or new_redis()
            made = Consumer(server, url or server.url, slots, interactive, stall_s)
            stack.callback(made.end)
            eventually(lambda: "ready" in made.lines, WITHIN_S)
            return made

        yield make


BULK = (shared(Priority.BATCH), shared(Priority.DEFAULT))
INTERACTIVE = shared(Priority.INTERACTIVE)


@pytest.mark.parametrize("reason", ["draining", "fenced"])
def test_a_reason_against_work_stops_all_queues_and_its_end_opens_them(new_consumer, eventually, reason: str) -> None:
    consumer = new_consumer()
    eventually(lambda: consumer.asked() > 0, WITHIN_S)
    consumer.say(f"pause {reason}")
    eventually(lambda: consumer.redis.info("clients")["blocked_clients"] == 0, WITHIN_S)
    asked = consumer.asked()
    for queue in (of_node("n", Priority.BATCH), *BULK, INTERACTIVE):
        consumer.wake(f"job-{queue}", queue)
    consumer.say("counts")
    eventually(lambda: "counts 0 0" in consumer.lines, WITHIN_S)

    assert (consumer.took(), consumer.asked()) == ([], asked)
    consumer.say(f"resume {reason}")
    eventually(lambda: len(consumer.took()) == 4, WITHIN_S)


@pytest.mark.parametrize("reason", ["full", "engine_down"])
def test_a_node_without_new_sandboxes_takes_from_its_own_queues_alone(new_consumer, eventually, reason: str) -> None:
    consumer = new_consumer()
    consumer.say(f"pause {reason}")
    consumer.say("counts")
    eventually(lambda: "counts 0 0" in consumer.lines, WITHIN_S)
    asked = consumer.asked()
    eventually(lambda: consumer.asked() >= asked + 2, WITHIN_S)  # the last of these began after the pause
    consumer.wake("theirs", BULK[0])
    consumer.wake("own", of_node("n", Priority.BATCH))
    eventually(lambda: consumer.took() == ["own"], WITHIN_S)

    assert consumer.redis.llen(BULK[0]) == 1
    consumer.say(f"resume {reason}")
    eventually(lambda: consumer.took() == ["own", "theirs"], WITHIN_S)


def test_an_interactive_job_finds_a_slot_whatever_batch_holds(new_consumer, eventually) -> None:
    consumer = new_consumer(slots=3, interactive=1)
    for number in range(300):
        consumer.wake(f"hold-{number}", BULK[number % 2])
    eventually(lambda: len(consumer.took()) == 2, WITHIN_S)
    consumer.wake("urgent", INTERACTIVE)
    eventually(lambda: "urgent" in consumer.took(), WITHIN_S)

    assert len(consumer.took()) == 3
    consumer.say("release")
    eventually(lambda: len(consumer.took()) == 301, WITHIN_S)


def test_batch_goes_on_under_a_steady_interactive_load(new_consumer, eventually) -> None:
    consumer = new_consumer(slots=2, interactive=1)
    for number in range(20):
        consumer.wake(f"batch-{number}", BULK[0])
    numbers = iter(range(100_000))

    def is_batch_done() -> bool:
        while consumer.redis.llen(INTERACTIVE) < 50:
            consumer.wake(f"urgent-{next(numbers)}", INTERACTIVE)
        return sum(job.startswith("batch") for job in consumer.took()) == 20

    eventually(is_batch_done, WITHIN_S)


def test_a_freed_slot_is_filled_at_once_though_only_interactive_jobs_are_awaited(new_consumer, eventually) -> None:
    consumer = new_consumer(slots=2, interactive=1)
    for number in range(100):
        consumer.wake(f"brief-{number}", BULK[0])

    # One slot for batch; its end finds a BRPOP that asks for interactive jobs alone, for a second: 100 s without more.
    eventually(lambda: len(consumer.took()) == 100, WITHIN_S)


def test_a_consumer_that_fell_silent_is_started_again(new_consumer, eventually) -> None:
    consumer = new_consumer(stall_s=1.0)
    consumer.wake("before", BULK[0])
    eventually(lambda: consumer.took() == ["before"], WITHIN_S)
    consumer.say("deafen")
    eventually(lambda: consumer.redis.info("clients")["blocked_clients"] == 0, WITHIN_S)
    consumer.wake("after", BULK[0])

    eventually(lambda: consumer.took() == ["before", "after"], WITHIN_S)
    assert consumer.child.poll() is None


def test_a_process_whose_consumer_stays_silent_ends_for_its_supervisor(new_redis, new_consumer, eventually) -> None:
    server = new_redis()
    relay = Relay(server.socket)
    try:
        consumer = new_consumer(stall_s=1.0, server=server, url=relay.url)
        relay.swallow = lambda data: b"BRPOP" in data or b"SUBSCRIBE" in data
        eventually(lambda: consumer.redis.info("clients")["blocked_clients"] == 0, WITHIN_S)
        consumer.wake("nobody", BULK[0])

        eventually(lambda: consumer.child.poll() is not None, 60.0)
        assert consumer.child.returncode == STALLED
    finally:
        relay.close()


@pytest.mark.parametrize("kind", ["blocked", "all"])
def test_cut_connections_do_not_stop_the_consumer(new_consumer, eventually, kind: str) -> None:
    consumer = new_consumer()
    for turn in range(20):
        for client in consumer.redis.client_list():
            is_ours = int(client["id"]) == int(consumer.redis.client_id())
            if not is_ours and (kind == "all" or "b" in client["flags"]):
                consumer.redis.client_kill_filter(_id=client["id"])
        consumer.wake(f"job-{turn}", BULK[0])
        if turn % 5 == 4:
            # A wake-up that a cut connection took along is sent again by `resend`; here the next one shows life.
            count = len(consumer.took())
            consumer.wake(f"alive-{turn}", BULK[0])
            eventually(lambda count=count: len(consumer.took()) > count, WITHIN_S)


def test_what_redis_refuses_is_tried_again_after_ever_longer_pauses(new_redis, new_consumer, eventually) -> None:
    server = new_redis()
    with server.connect() as admin:
        admin.acl_setuser("w", enabled=True, passwords=["+w"], keys=["*"], channels=["*"], commands=["+@all"])
        consumer = new_consumer(server=server, url=f"redis+socket://w:w@{server.socket}")
        asked_at = time.monotonic()
        admin.execute_command("ACL", "SETUSER", "w", "-brpop")
        eventually(lambda: sum(int(entry["count"]) for entry in admin.acl_log()) >= 5, WITHIN_S)
        took_s = time.monotonic() - asked_at
        admin.execute_command("ACL", "SETUSER", "w", "+brpop")
        consumer.wake("after", BULK[0])
        eventually(lambda: consumer.took() == ["after"], WITHIN_S)

    assert took_s > sum(map(Refusals().pause_s, range(4)))


def test_a_dead_peer_is_noticed_and_left_without_the_watchdog(new_redis, new_consumer, eventually) -> None:
    server = new_redis()
    relay = Relay(server.socket)
    try:
        consumer = new_consumer(server=server, url=relay.url)
        relay.lose_all()
        # Until its second is over, the server still gives to the dead: such a wake-up is sent again by `resend`.
        eventually(lambda: consumer.redis.info("clients")["blocked_clients"] == 0, WITHIN_S)
        consumer.wake("after", BULK[0])

        eventually(lambda: consumer.took() == ["after"], 60.0)
    finally:
        relay.close()
