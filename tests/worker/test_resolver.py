"""Does a name that is never answered hold up nothing but itself?"""

import asyncio
import threading

import pytest

from leasebox_worker.resolver import Resolver


async def test_names_and_addresses_are_answered_and_faults_are_told() -> None:
    resolver = Resolver()

    assert await resolver.resolve("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in await resolver.resolve("localhost")
    with pytest.raises(UnicodeError):
        await resolver.resolve("x" * 64 + ".test")


def test_names_without_an_answer_keep_neither_others_nor_the_loop_waiting() -> None:
    """More of them than asyncio has threads of its own."""
    never, hung = threading.Event(), 40

    def look(name: str) -> list[str]:
        if name == "hung.test":
            never.wait()
        return [name]

    async def ask() -> list[str]:
        resolver = Resolver(hung + 1, look)
        waiting = [asyncio.create_task(resolver.resolve("hung.test")) for _ in range(hung)]
        await asyncio.sleep(0)
        found = await resolver.resolve("10.0.0.1")
        found.append(await asyncio.to_thread(lambda: "free"))
        for task in waiting:
            task.cancel()
        return found

    try:
        assert asyncio.run(ask()) == ["10.0.0.1", "free"]
    finally:
        never.set()


async def test_beyond_its_bound_a_name_is_not_asked_for() -> None:
    never = threading.Event()

    def look(_: str) -> list[str]:
        never.wait()
        return []

    resolver = Resolver(1, look)
    waiting = asyncio.create_task(resolver.resolve("hung.test"))
    await asyncio.sleep(0)
    try:
        with pytest.raises(OSError, match="too many"):
            await resolver.resolve("other.test")
    finally:
        never.set()
        await waiting
    assert await resolver.resolve("other.test") == []
