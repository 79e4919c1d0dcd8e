"""Does the blocking client say what Redis holds?"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from leasebox import Client, errors
from leasebox._content import Source
from leasebox._flows import queues
from leasebox._redis import RedisTransport
from leasebox.config import ClientSettings
from leasebox.contract.blobs import PART_BYTES
from leasebox.contract.events import Finished, Queued, Started, Stderr, Stdout
from leasebox.contract.keys import Keys
from leasebox.contract.result import Outcome, State


@pytest.fixture
def client(either_settings: ClientSettings) -> Iterator[Client]:
    """A blocking client, of Redis and then of the API."""
    with Client(settings=either_settings) as made:
        yield made


def test_a_job_is_followed_from_queued_to_finished(client: Client, played: Any):
    handle = client.submit("print(1)", metadata={"a": "b"})
    work = played.begin(handle.id)
    played.write(work, ("stdout", b"gr\xc3"), ("stderr", b"no\n"), ("stdout", b"\xbc\xc3\x9f"))
    played.end(work, stdout="grüß", exit_code=3)

    found = list(handle.events(timeout_s=5))

    assert [type(event) for event in found] == [Queued, Started, Stdout, Stderr, Stdout, Finished]
    assert "".join(event.text for event in found if isinstance(event, Stdout)) == "grüß"
    assert b"".join(event.data for event in found if isinstance(event, Stdout)) == "grüß".encode()
    assert found[-1].result.exit_code == 3  # type: ignore[union-attr]
    assert handle.result().stdout == "grüß"


@pytest.mark.parametrize("place", range(6))
def test_reading_goes_on_after_any_event_without_loss(client: Client, played: Any, place: int):
    handle = client.submit("print(1)")
    work = played.begin(handle.id)
    played.write(work, *(("stdout", bytes([byte])) for byte in "ß€".encode()))
    played.end(work)
    whole = list(handle.events(timeout_s=5))

    rest = list(handle.events(after=whole[place].id, timeout_s=5))

    assert rest == whole[place + 1 :]


def test_run_waits_for_a_job_that_ends_later(client: Client, played: Any, redis: Redis, prefix: str, eventually: Any):
    def work() -> None:
        (job,) = eventually(lambda: redis.zrange(Keys(prefix).recent("default"), 0, -1))
        done = played.begin(job.decode())
        played.write(done, ("stdout", b"42\n"))
        played.end(done, stdout="42\n")

    worker = threading.Thread(target=work)
    worker.start()
    seen: list[Any] = []
    result = client.run("print(42)", on_event=seen.append, wait_s=5)
    worker.join()

    assert (result.outcome, result.stdout) == (Outcome.OK, "42\n")
    assert isinstance(seen[-1], Finished)


def test_big_parts_that_finished_lacks_come_from_the_kept_result(client: Client, played: Any):
    handle = client.submit("print(1)")
    played.end(played.begin(handle.id), is_partial=True, stdout="x" * 100_000)

    (*_, last) = handle.events(timeout_s=5)

    assert len(last.result.stdout) == 100_000  # type: ignore[union-attr]


def test_a_queued_job_is_cancelled_at_once(client: Client):
    handle = client.submit("print(1)")

    status = handle.cancel()

    assert (status.state, status.outcome) == (State.FINISHED, Outcome.CANCELLED)
    assert handle.result(1).outcome is Outcome.CANCELLED


def test_cancelling_a_running_job_only_asks(client: Client, played: Any):
    handle = client.submit("print(1)")
    played.begin(handle.id)

    with pytest.raises(errors.StreamTimeout):
        handle.cancel(wait_s=0.05)

    assert handle.status().cancel_requested
    assert handle.status().state is State.RUNNING


def test_a_repeat_with_the_same_key_is_the_same_job(client: Client):
    first = client.submit("print(1)", idempotency_key="k", metadata={"n": "1"})
    second = client.submit("print(1)", idempotency_key="k", metadata={"n": "2"})

    assert (second.id, first.existing, second.existing) == (first.id, False, True)
    with pytest.raises(errors.IdempotencyConflict, match="another spec"):
        client.submit("print(2)", idempotency_key="k")


def test_a_jobs_place_in_its_line_is_told(client: Client):
    handles = [client.submit("1", session="s") for _ in range(3)]

    assert [handle.status().position for handle in handles] == [0, 1, 2]


def test_jobs_lists_the_newest_first_and_filters(client: Client):
    first = client.submit("1", session="a", metadata={"team": "x"})
    second = client.submit("2")
    second.cancel()

    assert [job.id for job in client.jobs()] == [second.id, first.id]
    assert [job.id for job in client.jobs(session="a")] == [first.id]
    assert [job.id for job in client.jobs(state="cancelled")] == [second.id]
    assert [job.id for job in client.jobs(metadata={"team": "x"})] == [first.id]


@pytest.mark.parametrize("ask", ["status", "result", "cancel", "events"])
def test_an_unknown_job_is_said_to_be_unknown(client: Client, ask: str):
    handle = client.job("00000000-0000-7000-8000-000000000000")

    with pytest.raises(errors.UnknownJob):
        list(handle.events(timeout_s=0.01)) if ask == "events" else getattr(handle, ask)()


def test_another_tenants_job_is_unknown(client: Client, settings: ClientSettings):
    handle = client.submit("1")

    with pytest.raises(errors.UnknownJob):
        Client(settings=settings, tenant="other").job(handle.id).status()


def test_when_the_events_are_gone_the_result_still_answers(client: Client, played: Any, redis: Redis, prefix: str):
    handle = client.submit("1")
    played.end(played.begin(handle.id), stdout="x")
    redis.delete(Keys(prefix).events(handle.id))

    with pytest.raises(errors.StreamExpired):
        list(handle.events())
    assert handle.result().stdout == "x"


def test_the_celery_result_backend_reads_the_same_result(client: Client, played: Any, settings: ClientSettings):
    from celery import Celery

    handle = client.submit("1")
    played.end(played.begin(handle.id), stdout="x")

    url = f"{settings.url}?virtual_host=0"
    assert Celery("t", backend=url, set_as_current=False).AsyncResult(handle.id).get(timeout=30)["stdout"] == "x"


def test_published_profiles_refuse_early(client: Client, redis: Redis, prefix: str):
    body = {"languages": ["python"], "memory_bytes": 1 << 29, "max_timeout_s": 60.0, "env_allow": [], "network": []}
    redis.hset(Keys(prefix).profiles(), "default", json.dumps(body))

    with pytest.raises(errors.InvalidSpec, match="language"):
        client.submit("1", language="go")
    with pytest.raises(errors.UnknownProfile, match="nope"):
        client.submit("1", profile="nope")
    assert client.jobs() == []


def test_an_upload_whose_beginning_redis_lost_is_refused_and_not_kept_with_zeros_there(
    settings: ClientSettings, redis: Redis, prefix: str
):
    whole, reads = bytes(range(256)) * 8192, []

    def parts() -> Iterator[bytes]:
        reads.append(0)
        yield whole[:PART_BYTES]
        if len(reads) == 2:  # the first is for the content's id
            redis.delete(*redis.scan_iter(f"{prefix}*blob*"))
        yield whole[PART_BYTES:]

    with Client(settings=settings) as client:
        with pytest.raises(errors.BrokerUnavailable, match="lost the beginning of an upload"):
            client.submit("pass", files={"f": Source(len(whole), parts)})

        assert list(redis.scan_iter(f"{prefix}*blob*")) == []
        assert list(client.jobs()) == []


def test_redis_that_does_not_answer_is_one_clear_sentence():
    with pytest.raises(errors.BrokerUnavailable, match=r"redis://127\.0\.0\.1:1/0: Connection refused"):
        RedisTransport("redis://127.0.0.1:1/0", retries=0).run(queues(Keys()))


def test_a_wrong_password_is_one_clear_sentence(settings: ClientSettings):
    socket = str(settings.url).removeprefix("redis+socket://")

    with pytest.raises(errors.ConfigError, match="refused user or password") as caught:
        Client(f"redis+socket://:wrong@{socket}").queues()
    assert "wrong@" not in str(caught.value)
