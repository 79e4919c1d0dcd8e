"""Are many jobs taken, counted, followed and cancelled together, by the client of Redis and of the API alike?"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from leasebox import Client, errors
from leasebox._batches import Item
from leasebox._feeder import Feeder
from leasebox.batch import Batch, Run
from leasebox.config import ClientSettings
from leasebox.contract.batches import BatchFinished, JobDone
from leasebox.contract.blobs import MAX_BLOB_BYTES, upload
from leasebox.contract.keys import Keys
from leasebox.contract.result import Outcome
from leasebox.contract.spec import MAX_INLINE_BYTES, JobSpec

LARGE = b"x" * (MAX_INLINE_BYTES + 1)


@pytest.fixture
def either(either_settings: ClientSettings) -> Iterator[Client]:
    """A client of Redis, then one of the API."""
    with Client(settings=either_settings) as made:
        yield made


@pytest.fixture
def workers(played: Any, redis: Any, settings: ClientSettings) -> Iterator[list[str]]:
    """A worker that ends every job at once, with its stdin as output; the jobs that it ran."""
    ran: list[str] = []
    is_over: list[bool] = []

    def serve() -> None:
        keys = Keys(settings.prefix)
        while not is_over:
            for job in redis.smembers(keys.queued("leasebox.default")):
                work = played.begin(job.decode())
                ran.append(work.job)
                spec = json.loads(work.spec)
                played.end(work, stdout=str(spec.get("stdin", "")), metadata=spec.get("metadata", {}))

    thread = Thread(target=serve)
    thread.start()
    yield ran
    is_over.append(True)
    thread.join()


def test_many_specs_are_queued_in_order_each_by_itself(either: Client):
    handles = either.submit_many([{"code": f"print({n})"} for n in range(3)] + [JobSpec(code="1")])

    assert [status.id for status in either.jobs()] == [handle.id for handle in reversed(handles)]
    assert not any(handle.existing for handle in handles)


def test_a_wrong_spec_among_many_is_told_apart_and_the_others_are_queued(either: Client):
    given: list[Any] = [{"code": "1"}, {"code": "1", "tiemout": 3}, {"language": "cobol", "code": "1"}, {"code": "2"}]

    with pytest.raises(errors.PartlyRefused) as caught:
        either.submit_many(given)

    assert [(error.index, error.code) for error in caught.value.errors] == [(1, "invalid_spec"), (2, "invalid_spec")]
    assert "tiemout" in caught.value.errors[0].detail
    assert [handle is not None for handle in caught.value.handles] == [True, False, False, True]
    assert len(either.jobs()) == 2


def test_contents_above_the_inline_bound_are_uploaded_once_and_before_their_jobs(
    either: Client, redis: Any, settings: ClientSettings, tmp_path: Path
):
    (tmp_path / "f").write_bytes(LARGE)
    specs: list[Any] = [
        {"code": "1", "files": {"a": tmp_path / "f", "b": b"small"}},
        {"code": "1", "stdin": LARGE},
        {"code": "1", "files": {"a": {"text": LARGE.decode()}}},
        {"code": "1", "stdin": {"base64": base64.b64encode(LARGE).decode()}},
    ]

    handles = either.submit_many(specs)
    handles += [either.batch().add(specs[0])]

    keys, blob = Keys(settings.prefix), hashlib.sha256(LARGE).hexdigest()
    assert [key for key in redis.scan_iter(keys.blob("*")) if not key.endswith(b":jobs")] == [
        keys.blob(upload(settings.tenant, blob)).encode()
    ]
    for handle in handles:
        assert f'"blob":"{blob}"'.encode() in redis.hget(keys.job(handle.id), "spec")
        assert len(redis.hget(keys.job(handle.id), "spec")) < 1000


def test_a_file_that_changes_while_it_is_read_is_refused_alone(either: Client, tmp_path: Path):
    (tmp_path / "f").write_bytes(LARGE)

    def specs() -> Iterator[Any]:
        yield {"code": "1"}
        yield {"code": "2", "files": {"a": tmp_path / "f"}}
        (tmp_path / "f").write_bytes(LARGE[:-1])
        yield {"code": "3"}

    with pytest.raises(errors.PartlyRefused) as caught:
        either.submit_many(specs())

    assert [(error.index, error.code) for error in caught.value.errors] == [(1, "invalid_spec")]
    assert "became shorter" in caught.value.errors[0].detail
    assert len(either.jobs()) == 2


def test_a_full_queue_refuses_one_spec_and_keeps_the_others(either: Client, redis: Any, settings: ClientSettings):
    redis.hset(Keys(settings.prefix).settings(), "queue_max_jobs", 2)

    batch = either.batch([{"code": "1"}] * 4)

    assert [(error.index, error.code) for error in batch.errors] == [(2, "queue_full"), (3, "queue_full")]
    assert (batch.progress().total, batch.progress().sealed) == (2, True)


def test_a_sealed_batch_tells_each_end_and_then_its_own(either: Client, workers: list[str]):
    batch = either.batch([{"code": "1", "key": "a"}, {"code": "2", "stdin": "in"}], name="nightly")

    *done, last = batch.events(timeout_s=20)

    assert isinstance(last, BatchFinished)
    assert (last.total, last.done, last.by_outcome) == (2, 2, {"ok": 2})
    assert {(e.index, e.key, e.outcome) for e in done if isinstance(e, JobDone)} == {(0, "a", "ok"), (1, None, "ok")}
    stands = batch.progress()
    assert (stands.name, stands.total, stands.done, stands.by_outcome) == ("nightly", 2, 2, {"ok": 2})
    assert sorted(result.stdout for result in batch.results(timeout_s=20)) == ["", "in"]


def test_events_go_on_after_a_cursor_and_end_behind_the_last(either: Client, workers: list[str]):
    batch = either.batch([{"code": "1"}] * 3)
    told = list(batch.events(timeout_s=20))

    assert list(batch.events(after=told[1].id, timeout_s=20)) == told[2:]
    assert list(batch.events(after=told[-1].id, timeout_s=20)) == []


def test_a_batch_takes_jobs_until_it_is_sealed(either: Client, workers: list[str]):
    batch = either.batch()
    first = batch.add({"code": "1"})
    batch.add(JobSpec(code="2"), key="b")
    with pytest.raises(errors.InvalidSpec):
        batch.add({"code": "1", "command": ["ls"]})
    found = either.batch(batch_id=batch.id)
    found.add({"code": "3"})
    assert not batch.progress().sealed

    assert batch.seal().total == 3
    with pytest.raises(errors.BatchClosed):
        batch.add({"code": "4"})

    *done, _ = batch.events(timeout_s=20)
    assert sorted((e.index, e.key) for e in done if isinstance(e, JobDone)) == [(0, None), (1, "b"), (2, None)]
    assert first.result(20).outcome is Outcome.OK


def test_an_empty_batch_ends_when_it_is_sealed(either: Client):
    assert [type(event) for event in either.batch([]).events(timeout_s=20)] == [BatchFinished]


def test_cancel_ends_what_waits_and_asks_what_runs(either: Client, played: Any):
    batch = either.batch()
    running = batch.add({"code": "1"})
    for _ in range(70):
        batch.add({"code": "1"})
    work = played.begin(running.id)

    stands = batch.cancel()

    assert (stands.total, stands.done, stands.by_outcome) == (71, 70, {"cancelled": 70})
    assert running.status().cancel_requested
    with pytest.raises(errors.BatchClosed):
        batch.add({"code": "1"})
    played.end(work, "cancelled")
    assert batch.progress().finished_at is not None


def test_an_earlier_job_of_the_same_key_is_not_run_again(either: Client, workers: list[str]):
    earlier = either.submit("1", idempotency_key="k")
    batch = either.batch()

    again = batch.add({"code": "1", "idempotency_key": "k"})

    assert (again.id, again.existing) == (earlier.id, True)
    assert batch.seal().total == 0


def test_nobody_else_sees_a_batch(client: Client, settings: ClientSettings):
    mine = client.batch()
    mine.add({"code": "1"}).cancel()  # so that its stream has something to tell
    with Client(settings=settings.model_copy(update={"tenant": "other"})) as stranger:
        theirs = stranger.batch(batch_id=mine.id)
        asked = (theirs.progress, theirs.seal, theirs.cancel, lambda: next(theirs.events(after="1-1")))
        for ask in asked:
            with pytest.raises(errors.UnknownBatch):
                ask()
        with pytest.raises(errors.BatchClosed):
            theirs.add({"code": "1"})


def test_a_batch_that_is_not_there_is_said_so(either: Client):
    lost = either.batch(batch_id="0192aaaa-0000-7000-8000-000000000000")

    for ask in (lost.progress, lost.seal, lost.cancel, lambda: list(lost.events()), lambda: list(lost.results())):
        with pytest.raises(errors.UnknownBatch):
            ask()


def test_following_a_batch_that_goes_on_ends_in_time(either: Client):
    with pytest.raises(errors.StreamTimeout, match=r"batch .* did not end within 0.1 s"):
        list(either.batch([{"code": "1"}]).events(timeout_s=0.1))


def test_thousands_travel_in_chunks_and_all_arrive(client: Client):
    batch = client.batch({"code": "pass"} for _ in range(1201))

    assert (batch.errors, batch.progress().total) == ([], 1201)


def test_map_gives_a_result_for_each_input(either: Client, workers: list[str]):
    given = ["text", b"bytes", {"n": 1}, 5]

    found = {result.metadata["index"]: result.stdout for result in either.map("code", given)}

    assert found == {"0": "text", "1": "bytes", "2": '{"n": 1}', "3": "5"}


def test_map_keeps_the_order_and_the_bound(either: Client, workers: list[str]):
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = either.map("code", inputs(), max_in_flight=3, ordered=True)

    first = next(results)
    assert first.stdout == "0"
    assert len(taken) <= 6
    assert [result.stdout for result in results] == [str(n) for n in range(1, 20)]


def test_map_tells_an_input_that_cannot_be_queued_and_goes_on(either: Client, workers: list[str]):
    given: list[Any] = ["a", b"x" * (MAX_BLOB_BYTES + 1), {1, 2}, "b"]

    found = list(either.map("code", given, ordered=True))

    assert [result.outcome for result in found] == [Outcome.OK, Outcome.REJECTED, Outcome.REJECTED, Outcome.OK]
    assert [result.metadata["index"] for result in found] == ["0", "1", "2", "3"]
    assert f"at most {MAX_BLOB_BYTES}" in found[1].message


def test_map_refuses_at_once_what_no_input_could_make_right(client: Client):
    with pytest.raises(errors.InvalidSpec, match="tiemout"):
        client.map("code", [1], tiemout=3)
    with pytest.raises(errors.InvalidSpec, match="stdin"):
        client.map("code", [1], stdin="x")


def test_map_is_slowed_by_a_full_queue_and_loses_nothing(
    either: Client, workers: list[str], redis: Any, settings: ClientSettings
):
    redis.hset(Keys(settings.prefix).settings(), "queue_max_jobs", 2)

    found = sorted(int(result.stdout) for result in either.map("code", range(30)))

    assert found == list(range(30))
    assert len(workers) == 30


def test_a_run_whose_jobs_take_long_keeps_its_batch_open(either: Client, redis: Any, settings: ClientSettings):
    batch = either.batch()
    feeder = Feeder((Item(n, JobSpec(code="1")) for n in range(2)), max_in_flight=1)
    run = Run(either, feeder, batch.id, keep_s=0.0)
    run.turn()
    batch.add({"code": "ends at once"}).cancel()
    redis.zadd(Keys(settings.prefix).batches(), {batch.id: 1})
    run.turn()
    run.release()

    assert redis.zscore(Keys(settings.prefix).batches(), batch.id) > 1


def test_closing_map_early_cancels_what_is_left(either: Client, played: Any):
    results = either.map("code", range(10))
    thread = Thread(target=lambda: _end_first(either, played))
    thread.start()
    next(results)
    thread.join()

    results.close()  # type: ignore[attr-defined]

    assert [job.outcome for job in either.jobs()] == [Outcome.CANCELLED] * 9 + [Outcome.OK]


def _end_first(client: Client, played: Any) -> None:
    while len(queued := client.jobs(state="queued")) < 10:
        pass
    played.end(played.begin(queued[-1].id))


def test_the_handle_of_a_batch_shows_its_id(client: Client):
    assert repr(Batch(client, "b")) == "Batch('b')"
