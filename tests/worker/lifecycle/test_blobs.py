"""What stands in Redis beside the records: read and written a part at a time, under names that cannot mix."""

import hashlib
from typing import Any

import pytest

from leasebox.contract import blobs
from leasebox.contract.errors import BrokerUnavailable, InvalidSpec
from leasebox.contract.scripts import Runner
from leasebox_worker.lifecycle.blobs import Blobs

ID = "0" * 64
LARGE = bytes(range(256)) * 8192 + b"end"


@pytest.fixture
def store(worker_node: Any) -> Blobs:
    return Blobs(worker_node.runner, worker_node.keys)


def upload(worker_node: Any, data: bytes, tenant: str = "acme") -> str:
    key: str = worker_node.keys.blob(blobs.upload(tenant, ID))
    for at in blobs.starts(len(data)):
        worker_node.runner.send(blobs.write_part(key, at, data[at : at + blobs.PART_BYTES], 60.0))
    return key


def test_an_upload_comes_back_in_parts_to_its_tenant_alone(worker_node: Any, store: Blobs) -> None:
    upload(worker_node, LARGE)

    assert store.size_bytes("acme", ID) == len(LARGE)
    parts = list(store.parts("acme", ID, len(LARGE)))
    assert (b"".join(parts), max(map(len, parts))) == (LARGE, blobs.PART_BYTES)
    with pytest.raises(InvalidSpec, match="upload it again"):
        store.size_bytes("other", ID)


def test_an_upload_that_goes_away_meanwhile_is_no_short_file(worker_node: Any, store: Blobs) -> None:
    key = upload(worker_node, LARGE)
    parts = store.parts("acme", ID, len(LARGE))
    next(parts)
    worker_node.redis.delete(key)

    with pytest.raises(InvalidSpec, match="is gone"):
        next(parts)


def test_a_part_may_be_written_again_and_never_shortens_the_life_of_what_a_job_needs(worker_node: Any) -> None:
    key = upload(worker_node, b"ab")
    upload(worker_node, b"ab")
    assert (worker_node.redis.get(key), 0 < worker_node.redis.ttl(key) <= 60) == (b"ab", True)

    worker_node.redis.persist(key)
    upload(worker_node, b"ab")

    assert worker_node.redis.ttl(key) == -1


@pytest.mark.parametrize("size_bytes", [0, 1, blobs.PART_BYTES - 1, blobs.PART_BYTES, len(LARGE)])
def test_what_a_job_leaves_has_the_name_of_its_content_and_the_life_of_the_result(
    worker_node: Any, store: Blobs, size_bytes: int
) -> None:
    work = worker_node.claim(worker_node.submit(result_ttl_s=100.0))
    data = LARGE[:size_bytes]
    writer = store.writers(work)()
    for at in range(0, size_bytes, 100_000):
        writer.add(data[at : at + 100_000])

    written = writer.end()

    assert (written.size_bytes, written.sha256) == (size_bytes, hashlib.sha256(data).hexdigest())
    key = worker_node.keys.artifact(work.job, written.sha256)
    assert worker_node.redis.get(key) == data
    assert 0 < worker_node.redis.ttl(key) <= 100
    assert list(worker_node.redis.scan_iter(f"{worker_node.keys.artifact(work.job, '')}*")) == [key.encode()]


def test_what_is_dropped_or_was_left_half_written_is_not_found(worker_node: Any, store: Blobs) -> None:
    work = worker_node.claim(worker_node.submit())
    half = store.writers(work)()
    half.add(LARGE)
    half.drop()
    abandoned = store.writers(work)()
    abandoned.add(b"x" * len(LARGE))
    again = store.writers(work)()
    again.add(LARGE)

    assert worker_node.redis.get(worker_node.keys.artifact(work.job, again.end().sha256)) == LARGE


def test_a_file_whose_beginning_redis_has_lost_is_not_kept_with_zeros_in_its_place(
    worker_node: Any, store: Blobs
) -> None:
    work = worker_node.claim(worker_node.submit())
    writer = store.writers(work)()
    writer.add(LARGE)
    worker_node.redis.delete(worker_node.keys.artifact(work.job, work.lease))

    with pytest.raises(BrokerUnavailable, match="lost the beginning"):
        writer.end()

    assert list(worker_node.redis.scan_iter(f"{worker_node.keys.artifact(work.job, '')}*")) == []


def test_a_repeat_of_the_last_step_is_harmless(worker_node: Any) -> None:
    class LosesAnswers(Runner):
        """Asks everything twice, as after an answer that was lost."""

        def send(self, commands: Any) -> list[Any]:
            super().send(commands)
            return super().send(commands)

    work = worker_node.claim(worker_node.submit())
    writer = Blobs(LosesAnswers(worker_node.redis), worker_node.keys).writers(work)()
    writer.add(LARGE)

    written = writer.end()

    assert worker_node.redis.get(worker_node.keys.artifact(work.job, written.sha256)) == LARGE


def test_an_error_that_a_repeat_does_not_explain_is_told(worker_node: Any, store: Blobs) -> None:
    work = worker_node.claim(worker_node.submit())
    writer = store.writers(work)()
    writer.add(LARGE)
    worker_node.redis.delete(worker_node.keys.artifact(work.job, work.lease))
    writer._pending.clear()

    with pytest.raises(BrokerUnavailable, match="lost a file"):
        writer.end()
