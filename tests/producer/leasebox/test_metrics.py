"""Does a client get what the session's node measures, over Redis and over HTTP?"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from leasebox import AsyncClient, Client, errors
from leasebox.contract.keys import Keys
from leasebox.contract.metrics import Health, SandboxMetrics
from leasebox.contract.result import SessionState
from leasebox.contract.scripts import Runner, metrics

MEASURED = SandboxMetrics(
    sandbox="lb-1", cpu_percent=99.5, cpu_s=1.5, memory_bytes=1, memory_peak_bytes=2, disk_bytes=3,
    network_in_bytes=4, network_out_bytes=5, processes=6, health=Health.FAILING, health_failures=1,
)  # fmt: skip


@pytest.fixture
def client(either_settings: Any) -> Iterator[Client]:
    """A blocking client, of Redis and then of the API."""
    with Client(settings=either_settings) as made:
        yield made


@contextmanager
def measuring(redis: Redis, keys: Keys, node: str) -> Iterator[None]:
    """A node that answers each order to measure."""
    stop = threading.Event()

    def answer() -> None:
        cursor = "0-0"
        while not stop.is_set():
            found: Any = redis.xread({keys.control(node): cursor}, block=50)
            for entry_id, fields in found[0][1] if found else ():
                cursor = entry_id
                line, sandbox = fields[b"line"].decode(), fields[b"sandbox"].decode()
                call = metrics.measured(keys, line=line, sandbox=sandbox, json=MEASURED.model_dump_json())
                Runner(redis).run(call)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_session_tells_what_its_node_measures_and_its_record_counts(client: Client, redis: Redis, played: Any):
    session = client.session("s")
    played.end(played.begin(session.submit("1").id))
    node = session.info().node
    with measuring(redis, Keys(client.settings.prefix), str(node)):
        found = session.metrics()

    told = {name: getattr(found, name) for name in SandboxMetrics.model_fields}
    assert told == MEASURED.model_dump()
    assert (found.session, found.state, found.node) == ("s", SessionState.IDLE, node)
    assert (found.executions, found.last_exit_code) == (1, 0)
    assert found.measured_at is not None
    assert found.measured_at >= session.info().used_at - 1


def test_asking_is_no_activity(client: Client, redis: Redis, played: Any):
    session = client.session("s")
    played.end(played.begin(session.submit("1").id))
    before = session.info()
    with measuring(redis, Keys(client.settings.prefix), str(before.node)):
        session.metrics()

    assert session.info() == before


@pytest.mark.slow
def test_a_node_that_does_not_answer_leaves_the_health_unknown(client: Client, played: Any):
    session = client.session("s")
    played.end(played.begin(session.submit("1").id))

    found = session.metrics()

    assert (found.health, found.measured_at, found.executions) == (Health.UNKNOWN, None, 1)


def test_a_session_without_a_sandbox_has_nothing_to_measure_and_one_that_never_was_is_unknown(client: Client):
    session = client.session("s")
    found = session.metrics()
    session.close()

    assert (found.health, found.state, found.measured_at, found.sandbox) == (Health.NONE, "new", None, None)
    assert (session.metrics().state, session.metrics().health) == ("closed", "none")
    ghost = client.session("ghost")
    ghost.name = "never"
    with pytest.raises(errors.UnknownSession):
        ghost.metrics()


async def test_the_asynchronous_session_tells_the_same(either_settings: Any, redis: Redis, played: Any):
    async with AsyncClient(settings=either_settings) as client:
        session = await client.session("s")
        played.end(played.begin((await session.submit("1")).id))
        node = (await session.info()).node
        with measuring(redis, Keys(either_settings.prefix), str(node)):
            found = await session.metrics()

    assert (found.cpu_s, found.health, found.executions) == (1.5, Health.FAILING, 1)
