"""Does the asyncio client do what its blocking twin does?"""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from leasebox import AsyncClient, Batch, Client, JobHandle, Session, errors
from leasebox.aio import AsyncJobHandle
from leasebox.aio_batch import AsyncBatch
from leasebox.aio_session import AsyncSession
from leasebox.config import ClientSettings
from leasebox.contract.batches import BatchFinished, JobDone
from leasebox.contract.events import Finished, Queued, Started, Stdout
from leasebox.contract.result import Outcome


@pytest.fixture
async def aclient(either_settings: ClientSettings) -> AsyncIterator[AsyncClient]:
    """An asyncio client, of Redis and then of the API."""
    async with AsyncClient(settings=either_settings) as made:
        yield made


@pytest.mark.parametrize(
    ("one", "other"),
    [(Client, AsyncClient), (JobHandle, AsyncJobHandle), (Session, AsyncSession), (Batch, AsyncBatch)],
)
def test_the_twins_have_the_same_names_and_parameters(one: type, other: type):
    def public(of: type) -> dict[str, list[str]]:
        named = inspect.getmembers(of, inspect.isfunction)
        return {n: list(inspect.signature(f).parameters) for n, f in named if not n.startswith("_") or n == "__init__"}

    assert public(one) == public(other)


async def test_a_job_is_followed_to_its_end(aclient: AsyncClient, played: Any):
    handle = await aclient.submit("print(1)")
    work = played.begin(handle.id)
    played.write(work, ("stdout", b"1\n"))
    played.end(work, stdout="1\n")

    assert [type(event) async for event in handle.events(timeout_s=5)] == [Queued, Started, Stdout, Finished]
    assert (await handle.result()).stdout == "1\n"


async def test_many_runs_wait_at_the_same_time(aclient: AsyncClient, played: Any, eventually: Any):
    seen: list[str] = []

    async def note(event: Any) -> None:
        seen.append(event.type)

    runs = asyncio.gather(*(aclient.run("1", on_event=note, wait_s=5) for _ in range(3)))
    with Client(settings=aclient.settings) as other:
        queued = await asyncio.to_thread(eventually, lambda: len(found := other.jobs(state="queued")) == 3 and found)
    for job in queued:
        await asyncio.to_thread(lambda job=job: played.end(played.begin(job.id)))

    assert [result.outcome for result in await runs] == [Outcome.OK] * 3
    assert seen.count("finished") == 3


async def test_cancel_and_the_lists(aclient: AsyncClient):
    handle = await aclient.submit("1")

    assert (await handle.cancel()).outcome is Outcome.CANCELLED
    assert [job.id for job in await aclient.jobs()] == [handle.id]
    assert (await aclient.queues())[0].queued == 0
    assert await aclient.nodes() == []
    assert await aclient.profiles() == {}


async def test_errors_are_the_same(aclient: AsyncClient):
    with pytest.raises(errors.UnknownJob):
        await aclient.job("00000000-0000-7000-8000-000000000000").result()
    with pytest.raises(errors.ConfigError, match="scheme"):
        AsyncClient("ftp://h")


async def test_a_batch_and_map_do_what_their_twins_do(aclient: AsyncClient, played: Any):
    async def serve() -> None:
        ended: set[str] = set()
        while len(ended) < 4:
            for job in await aclient.jobs(state="queued"):
                await asyncio.to_thread(lambda job=job: played.end(played.begin(job.id), metadata=job.metadata))
                ended.add(job.id)

    serving = asyncio.create_task(serve())
    batch = await aclient.batch([{"code": "1", "key": "a"}, {"code": "1", "wrong": 1}])
    results = [result.metadata["index"] async for result in aclient.map("1", ["x", "y"], ordered=True)]
    (handle,) = await aclient.submit_many([{"code": "1"}])
    await serving

    assert [type(event) async for event in batch.events(timeout_s=20)] == [JobDone, BatchFinished]
    assert [error.index for error in batch.errors] == [1]
    assert (await batch.progress()).by_outcome == {"ok": 1}
    assert [result.outcome async for result in batch.results(timeout_s=20)] == [Outcome.OK]
    assert results == ["0", "1"]
    assert (await handle.result(20)).outcome is Outcome.OK


async def test_an_open_batch_takes_jobs_until_it_is_cancelled(aclient: AsyncClient):
    batch = await aclient.batch(name="open")
    handle = await batch.add({"code": "1"})

    assert (await batch.cancel()).by_outcome == {"cancelled": 1}
    assert (await handle.status()).outcome is Outcome.CANCELLED
    with pytest.raises(errors.BatchClosed):
        await (await aclient.batch(batch_id=batch.id)).add({"code": "1"})
    assert (await batch.seal()).sealed
