"""Does a real worker tell a real receiver of a job's end, also when it is killed over it?"""

import base64
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from standardwebhooks.webhooks import Webhook
from tests.acceptance.conftest import wait_until_registered, worker_process
from tests.conftest import Eventually, unmount_below
from tests.worker.webhooks.receiver import Receiver, receiving

from leasebox.client import Client
from leasebox.contract.keys import Keys

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SETTINGS = {"LEASEBOX_WEBHOOK_SECRET": SECRET, "LEASEBOX_WEBHOOK_ALLOW": "127.0.0.1"}
WAIT_S = 90.0
Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On this machine."""
    with receiving() as made:
        yield made


@pytest.fixture
def url(new_redis) -> str:
    """Of a Redis of the test's own."""
    return str(new_redis().url)


@pytest.fixture
def start(url: str, home: Path, bwrap: Path) -> Iterator[Start]:
    """Start a worker that sends webhooks to this machine."""
    with ExitStack() as stack:
        stack.callback(unmount_below, home)

        def _start(node: str) -> subprocess.Popen[bytes]:
            folder = home / node
            folder.mkdir(mode=0o755)
            child = stack.enter_context(worker_process(url, folder, "bubblewrap", node, **SETTINGS))
            wait_until_registered(url, node, child, folder / f"{node}.log")
            return child

        yield _start


def log_of(url: str, job: str) -> list[tuple[bytes, bytes]]:
    """Attempt and error of each delivery."""
    with Client(url) as client:
        assert client.job(job).status().state == "finished"
    with redis.Redis(unix_socket_path=url.removeprefix("redis+socket://")) as found:
        return [(e[b"attempt"], e[b"error"]) for _, e in found.xrange(Keys().webhook_log(job))]


def test_a_worker_tells_the_end_of_a_job_under_its_signature(
    url: str, start: Start, receiver: Receiver, eventually: Eventually
) -> None:
    start("n")
    with Client(url) as client:
        job = client.submit("print(6 * 7)", callback_url=receiver.url("127.0.0.1")).id

    eventually(lambda: receiver.received, within_s=WAIT_S)

    told = Webhook(SECRET).verify(receiver.received[0].body, receiver.received[0].headers)
    assert (told["data"]["job"], told["data"]["result"]["stdout"]) == (job, "42\n")
    eventually(lambda: log_of(url, job) == [(b"1", b"")], within_s=WAIT_S)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_worker_killed_between_post_and_removal_is_followed_by_another_and_refusals_are_tried_again(
    url: str, start: Start, receiver: Receiver, eventually: Eventually
) -> None:
    """Waits for the real lease of 30 s, and for the real 5 and 30 s between attempts."""
    receiver.gate.clear()
    first = start("first")
    with Client(url) as client:
        job = client.submit("pass", callback_url=receiver.url("127.0.0.1")).id
    eventually(lambda: receiver.received, within_s=WAIT_S)
    first.kill()
    first.wait()
    receiver.statuses = [204, 500]  # the first goes to the one that is dead
    receiver.gate.set()

    start("second")
    eventually(lambda: len(receiver.received) == 3, within_s=180)

    assert receiver.ids == [job] * 3
    eventually(lambda: len(log_of(url, job)) == 3, within_s=WAIT_S)
    assert log_of(url, job) == [(b"1", b"its worker ended before it told"), (b"2", b"answered 500"), (b"3", b"")]
