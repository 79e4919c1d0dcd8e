"""Does the API end, whatever its tasks make of that?"""

import asyncio
import logging

import pytest

from leasebox.server import service


async def deaf(times: int) -> None:
    """Loses so many cancels, as a library may that takes them for its own timeout."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_that_loses_cancels_ends_all_the_same(times: int) -> None:
    task = asyncio.create_task(deaf(times))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await service._ended(task)
    assert task.cancelled()


async def test_what_had_ended_a_task_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def _broken() -> None:
        raise RuntimeError("ours")

    task = asyncio.create_task(_broken())
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        await service._ended(task)
    assert "ours" in caplog.text
