"""Does every way of handing jobs in carry the context of its trace, by Redis and by HTTP, also where nobody traces?"""

from typing import Any

import pytest

from leasebox import AsyncClient, Client, errors
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.telemetry import traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def kept(redis: Any, settings: ClientSettings) -> list[str | None]:
    """The context in each record."""
    records = redis.scan_iter(match=f"{Keys(settings.prefix).job('')}*", _type="hash")
    found = [redis.hget(key, "traceparent") for key in records]
    return [value.decode() if value else None for value in found]


@pytest.mark.parametrize("parent", [PARENT, None])
def test_jobs_carry_the_context_one_or_many(
    either_settings: ClientSettings, settings: ClientSettings, redis: Any, parent: str | None
) -> None:
    with Client(settings=either_settings) as client, traces.span("the application's", parent=parent):
        client.submit("pass")
        client.submit_many([{"code": "pass"}, {"code": "pass"}])
        client.batch([{"code": "pass"}])

    assert kept(redis, settings) == [parent] * 4


async def test_the_async_twin_does_too(either_settings: ClientSettings, settings: ClientSettings, redis: Any) -> None:
    with traces.span("the application's", parent=PARENT):
        async with AsyncClient(settings=either_settings) as client:
            await client.submit("pass")
            await client.submit_many([{"code": "pass"}])

    assert kept(redis, settings) == [PARENT] * 2


def test_a_refused_submit_leaves_the_context_as_it_was(client: Client) -> None:
    with traces.span("the application's", parent=PARENT):
        with pytest.raises(errors.SessionExpired):
            client.submit("pass", session="none", session_must_exist=True)
        assert traces.traceparent() == PARENT
    assert traces.traceparent() is None
