"""Do a thousand watchers stand on a few connections, and is none left asleep when a bell is lost?"""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from leasebox import AsyncClient
from leasebox._stream import START
from leasebox.config import ApiSettings, ClientSettings
from leasebox.contract.events import Finished, Stdout
from leasebox.server.events import Following
from leasebox.server.service import Caller, Desk, Service
from leasebox.server.watch import Bell


@pytest.fixture
def service(settings: ClientSettings) -> Service:
    """The service of an API, without the API."""
    return Service(ApiSettings(url=settings.url, prefix=settings.prefix, home=settings.home, _env_file=None))


def desk(service: Service) -> Desk:
    return Desk(service, Caller("default", None), service.backend("default"))


async def follow(service: Service, job: str, ready: list[str], heard: list[Any] | None = None) -> list[Any]:
    """Everything that one watcher is told; `heard` gets it as it comes."""
    seen: list[Any] = []
    async with AsyncExitStack() as stack:
        following = Following(desk(service), job, None)
        first = await following.begin(stack)
        seen += first.events if first is not None else ()
        ready.append(job)
        async for told in following.go_on():
            seen += told.events if told is not None else ()
            if heard is not None and told is not None:
                heard += told.events
    return seen


async def until(condition: Any, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_thousand_watchers_are_told_everything_over_few_connections(
    service: Service, settings: ClientSettings, played: Any, redis: Any
):
    before = len(redis.client_list())
    ready: list[str] = []
    async with service.running(), AsyncClient(settings=settings) as client:
        jobs = [(await client.submit("1")).id for _ in range(50)]
        works = [await asyncio.to_thread(played.begin, job) for job in jobs]
        watching = [asyncio.create_task(follow(service, job, ready)) for job in jobs for _ in range(20)]
        await until(lambda: len(ready) == 1000)
        most = 0
        for n in range(4):
            for work in works:
                await asyncio.to_thread(played.write, work, ("stdout", b"%d\n" % n))
            most = max(most, len(redis.client_list()) - before)
        for work in works:
            await asyncio.to_thread(played.end, work)
        told = await asyncio.wait_for(asyncio.gather(*watching), 60)

    for seen in told:
        assert [event.data for event in seen if isinstance(event, Stdout)] == [b"0\n", b"1\n", b"2\n", b"3\n"]
        assert isinstance(seen[-1], Finished)
    assert most <= 40
    assert service.watch.watchers == 0


async def test_readers_who_ask_the_same_at_the_same_time_are_answered_by_one_read(
    service: Service, settings: ClientSettings, played: Any, redis: Any
):
    ready: list[str] = []
    async with service.running(), AsyncClient(settings=settings) as client:
        job = (await client.submit("1")).id
        work = await asyncio.to_thread(played.begin, job)
        heard: list[Any] = []
        watching = [asyncio.create_task(follow(service, job, ready, heard)) for _ in range(50)]
        await until(lambda: len(ready) == 50)
        redis.config_resetstat()
        for n in range(1, 11):
            await asyncio.to_thread(played.write, work, ("stdout", b"x"))
            await until(lambda n=n: len(heard) == 50 * n)
        await asyncio.to_thread(played.end, work)
        await asyncio.gather(*watching)

    # Fifty readers of a dozen events by themselves would be 550 reads and more.
    assert redis.info("commandstats")["cmdstat_xread"]["calls"] < 150


async def test_a_lost_bell_is_made_good_by_the_sweep(
    service: Service, settings: ClientSettings, played: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service.watch, "_ring", lambda _: None)
    ready: list[str] = []
    async with service.running(), AsyncClient(settings=settings) as client:
        job = (await client.submit("1")).id
        watching = asyncio.create_task(follow(service, job, ready))
        await until(lambda: ready)
        await asyncio.to_thread(lambda: played.end(played.begin(job)))

        # Well before the heartbeat, after which a follower looks by itself.
        seen = await asyncio.wait_for(watching, 30)

    assert isinstance(seen[-1], Finished)


async def test_redis_may_be_restarted_under_watchers(new_redis: Any, tmp_path: Any):
    server = new_redis()
    settings = ClientSettings(url=server.url, home=tmp_path, _env_file=None)
    service = Service(ApiSettings(url=server.url, home=tmp_path, _env_file=None))
    ready: list[str] = []
    async with service.running(), AsyncClient(settings=settings) as client:
        job = (await client.submit("1")).id
        watching = asyncio.create_task(follow(service, job, ready))
        await until(lambda: ready)
        with server.connect() as admin:
            admin.client_kill_filter(_type="pubsub")
            admin.client_kill_filter(_type="normal", skipme=True)
        await client.job(job).cancel()

        seen = await asyncio.wait_for(watching, 30)

    assert isinstance(seen[-1], Finished)


async def test_a_ring_between_the_look_and_the_wait_is_not_missed():
    bell = Bell()
    count = bell.count
    bell.ring()

    assert await bell.after(count, 0.001)
    assert not await bell.after(bell.count, 0.001)


async def test_a_follower_who_leaves_takes_no_answer_from_the_others(service: Service, settings: ClientSettings):
    async with service.running(), AsyncClient(settings=settings) as client:
        job = (await client.submit("1")).id
        feed = service.feed(service.backend("default"), job)
        asked = [asyncio.create_task(feed.after(START)) for _ in range(3)]
        await asyncio.sleep(0)
        asked[0].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert [told.events[0].type for told in found[1:]] == ["queued", "queued"]


async def test_a_follower_who_fell_behind_reads_by_itself_and_misses_nothing(
    service: Service, settings: ClientSettings, played: Any
):
    async with service.running(), AsyncClient(settings=settings) as client:
        job = (await client.submit("1")).id
        work = await asyncio.to_thread(played.begin, job)
        for part in (b"\xe2", b"\x82", b"\xac") * 20:
            await asyncio.to_thread(played.write, work, ("stdout", part))
        await asyncio.to_thread(played.end, work)
        whole = await follow(service, job, [])
        feed = service.feed(service.backend("default"), job)
        for place, event in enumerate(whole[:-1]):
            told = await feed.after(event.id)
            assert told is not None
            assert list(told.events) == whole[place + 1 : place + 1 + len(told.events)]
