"""Does one glance hold what the single requests say, over Redis as over HTTP, and cost one script?"""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from leasebox import Client
from leasebox._overview import Overview, ended_lately, outcomes, overview, running
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.result import JobStatus, Outcome, State


@pytest.fixture
def either(either_settings: ClientSettings) -> Iterator[Client]:
    """A client of Redis, then one of an API over it."""
    with Client(settings=either_settings) as made:
        yield made


def look(client: Client, *, has_sessions: bool = True) -> Overview:
    return client._run(client._backend.overview(has_sessions=has_sessions))


def test_a_glance_says_what_the_single_requests_say(either: Client, played: Any) -> None:
    first, second, third = (either.submit(str(n), session="s" if n else None) for n in range(3))
    played.end(played.begin(first.id), "error")
    played.begin(second.id)
    box = either.session("s")

    seen = look(either)

    assert list(seen.queues) == either.queues()
    assert [(n.name, n.state, n.heartbeat, n.fields["slots"]) for n in seen.nodes] == [
        (n.name, n.state, n.heartbeat, n.fields["slots"]) for n in either.nodes()
    ]
    assert [(job.id, job.state) for job in seen.jobs] == [(job.id, job.state) for job in either.jobs()]
    assert seen.sessions == [box.info()]
    assert seen.live == 1
    assert [job.id for job in running(seen)] == [second.id]
    assert outcomes(seen) == {"error": 1}
    assert ended_lately(seen) == 1
    assert third.id in {job.id for job in seen.jobs}


def test_nothing_is_nothing(either: Client) -> None:
    seen = look(either)

    assert (list(seen.nodes), list(seen.jobs), seen.sessions, seen.live) == ([], [], [], 0)
    assert [(queue.queued, queue.max_jobs) for queue in seen.queues] == [(0, None)] * 3


def test_sessions_that_one_may_not_see_are_not_asked_for(either: Client) -> None:
    either.session("s")

    assert look(either, has_sessions=False).sessions is None


def test_a_glance_is_one_script_and_changes_nothing(client: Client, redis: Redis, played: Any) -> None:
    client.submit("1", session="s")
    keys = Keys(client.settings.prefix)
    before = {key: redis.dump(key) for key in redis.scan_iter(f"{keys.prefix}*")}
    flow = overview(keys, client.settings.tenant, has_sessions=True)

    call = next(flow)
    with pytest.raises(StopIteration) as answered:
        flow.send(played.run(call))

    assert answered.value.value.live == 1
    assert {key: redis.dump(key) for key in redis.scan_iter(f"{keys.prefix}*")} == before


def test_another_tenants_jobs_and_sessions_are_not_seen(settings: ClientSettings) -> None:
    with Client(settings=settings) as client, Client(settings=settings, tenant="other") as other:
        client.submit("1", session="s")
        seen = look(other)

    assert (list(seen.jobs), seen.sessions, seen.live) == ([], [], 0)


def test_only_ends_of_the_last_minute_are_lately() -> None:
    def job(finished_at: float | None) -> JobStatus:
        return JobStatus(
            id="j", state=State.FINISHED, outcome=Outcome.OK, queue="q", attempt=1, submitted_at=0.0,
            finished_at=finished_at,
        )  # fmt: skip

    assert ended_lately(Overview(100.0, [], [], [job(40.0), job(40.1), job(None)], None)) == 1
