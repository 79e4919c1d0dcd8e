"""Is a person told what a job waits for, and what to do about it?"""

from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis

from leasebox import AsyncClient, Client, errors
from leasebox._reads import NodeStatus
from leasebox._standing import Facts, Member, explain, why
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node, worker
from leasebox.contract.standing import Cause

UP = (NodeStatus("n", 1, 1.0, {"slots": "4", "busy": "1"}),)
QUEUED = {"state": "queued", "queue": "leasebox.default", "tenant": "acme", "session": "s", "profile": "default"}
RUNNING = {"state": "running", "node": "n", "started_at": "40", "runs": "1"}


def of(fields: Mapping[str, str], event: str | None = None, **data: str) -> Member:
    return Member("j1", fields, event, data)


def behind(fields: Mapping[str, str], place: int = 1, **more: Any) -> Facts:
    return Facts(100, of(QUEUED), head=Member("j0", fields), place=place, **more)


@pytest.mark.parametrize(
    ("facts", "cause", "told", "step"),
    [
        (Facts(100, of(QUEUED)), Cause.NO_NODE, "No worker is up; it waits for one.", "leasebox-worker run"),
        (Facts(100, of(QUEUED), nodes=UP), Cause.TURN, "It is next in queue leasebox.default.", "leasebox doctor"),
        (
            Facts(100, of(QUEUED), rank=3, nodes=UP),
            Cause.TURN,
            "3 are before it in queue leasebox.default.",
            "leasebox top",
        ),
        (Facts(100, of({**QUEUED, "not_before": "104.5"})), Cause.DELAYED, "It is tried again in 4.5 s.", None),
        (
            Facts(100, of({**QUEUED, "parked": "1"}), running=2, bound=2),
            Cause.QUOTA,
            "Tenant acme runs as many jobs as it may (2 of 2); it goes on when one of them ends.",
            "LEASEBOX_TENANTS_FILE",
        ),
        (
            behind({"state": "running", "node": "n", "started_at": "90"}),
            Cause.BEHIND,
            "It waits in session s behind job j0, which node n has run for 10 seconds.",
            "leasebox cancel j0",
        ),
        (
            behind({"state": "starting", "node": "n"}, place=3),
            Cause.BEHIND,
            "behind job j0, for which node n is getting the sandbox ready and 2 more.",
            "leasebox cancel j0",
        ),
        (
            behind(QUEUED),
            Cause.BEHIND,
            "behind job j0, which waits itself. Of that one: No worker is up",
            "leasebox-worker run",
        ),
        (
            behind({"state": "running"}, session={"closing": "1"}),
            Cause.CLOSING,
            "Session s is being closed; the job runs in a new sandbox when job j0 has ended.",
            "leasebox cancel j0",
        ),
        (
            Facts(100, of({**QUEUED, "runs": "1"}, "retried", reason="node_lost"), nodes=UP),
            Cause.TURN,
            "Attempt 1 was given up. The node that ran the job stopped answering.",
            "leasebox doctor",
        ),
        (
            Facts(100, of({**QUEUED, "starts": "2"}), nodes=UP),
            Cause.TURN,
            "Getting its sandbox ready has failed 2 times.",
            "leasebox doctor",
        ),
        (
            Facts(100, of({**QUEUED, "expires_at": "130"}), nodes=UP),
            Cause.TURN,
            "It expires in 30 s unless it starts by then.",
            "leasebox doctor",
        ),
        (
            Facts(100, of({"state": "starting", "node": "n", "claimed_at": "99"})),
            Cause.STARTING,
            "Node n has been getting its sandbox ready for 1 second.",
            "pool",
        ),
        (
            Facts(100, of({**RUNNING, "runs": "2"})),
            Cause.RUNNING,
            "Node n has run it for 1 minute (attempt 2).",
            "leasebox logs -f j1",
        ),
        (
            Facts(100, of(RUNNING, "input", prompt="name? ")),
            Cause.INPUT,
            "It asks for input: 'name? '.",
            "POST /v1/jobs/j1/stdin",
        ),
        (Facts(100, of(RUNNING), input_waits=0), Cause.INPUT, "has read all that was written", "write_stdin"),
        (Facts(100, of(RUNNING), input_waits=1), Cause.RUNNING, "Node n has run it", "leasebox logs"),
        (Facts(100, of({**RUNNING, "stdin_eof": "1"}), input_waits=0), Cause.RUNNING, "Node n has run it", "logs"),
        (
            Facts(100, of({**RUNNING, "cancel_requested": "1"})),
            Cause.ENDING,
            "Its end was asked for",
            "leasebox result j1",
        ),
        (
            Facts(100, of({"state": "finished", "outcome": "lost"}), message="Its node died."),
            Cause.ENDED,
            "It has ended with outcome lost. Its node died.",
            "leasebox result j1",
        ),
    ],
)
def test_a_situation_is_told(facts: Facts, cause: Cause, told: str, step: str | None) -> None:
    found = explain(facts)

    assert found.cause is cause
    assert told in " ".join(found.why)
    assert step is None if found.next_step is None else step is not None and step in found.next_step


@pytest.fixture
def either(either_settings: ClientSettings) -> Any:
    """A client of Redis, then one of an API over it."""
    with Client(settings=either_settings) as made:
        yield made


def test_a_job_behind_another_names_it(either: Client, played: Any) -> None:
    first, second = (either.submit(str(n), session="s") for n in range(2))
    waiting = second.why()
    played.begin(first.id)
    told = second.why()

    assert (waiting.cause, waiting.behind) == (Cause.BEHIND, first.id)
    assert "which waits itself. Of that one: It is next in queue" in waiting.why[0]
    assert (told.cause, told.behind, told.node, told.before) == (Cause.BEHIND, first.id, played.name, 1)
    assert f"behind job {first.id}, which node {played.name} has run for" in told.why[0]
    assert first.why().cause is Cause.RUNNING


def test_a_retried_job_says_why_and_when(client: Client, redis: Redis, played: Any) -> None:
    handle = client.submit("1", retries=1)
    work = played.begin(handle.id)
    played.run(worker.give_up(played.keys, job=work.job, lease=work.lease, why=worker.Why.SANDBOX_DIED))

    found = handle.why()

    told = " ".join(found.why)
    assert (found.cause, found.until is not None) == (Cause.DELAYED, True)
    assert "It is tried again in" in told
    assert "Attempt 1 was given up. The job's sandbox died under it." in told
    assert handle.status().attempt == 2


def test_a_profile_that_the_live_nodes_lack_is_named(client: Client, redis: Redis, played: Any) -> None:
    handle = client.submit("1", profile="gpu")
    before = handle.why()
    publish = node.publish(
        Keys(client.settings.prefix), node=played.name, incarnation="i", profiles={"default": "{}"}, digest="d",
        quotas={}, quotas_digest="d", reclaim_s=15.0,
    )  # fmt: skip
    Runner(redis).run(publish)

    assert before.cause is Cause.TURN
    assert handle.why().cause is Cause.PROFILE
    assert "No node serves profile gpu" in handle.why().why[0]


def test_slots_that_are_kept_for_interactive_jobs_are_not_taken_for_free_ones(
    client: Client, redis: Redis, played: Any
) -> None:
    redis.hset(Keys(client.settings.prefix).settings(), "interactive_slots", "1")
    # The played worker has four slots.
    for number in range(3):
        played.begin(client.submit(str(number)).id)
    bulk, interactive = client.submit("4"), client.submit("5", priority="interactive")

    assert bulk.why().cause is Cause.BUSY
    assert interactive.why().cause is Cause.TURN


def test_a_job_that_the_machinery_ended_says_what_its_result_says(either: Client, played: Any) -> None:
    refused, failed = either.submit("1"), either.submit("2")
    played.end(played.begin(refused.id), "rejected", message="profile gpu is not served here")
    played.end(played.begin(failed.id), "error", message="of the program")

    assert refused.why().why == ["It has ended with outcome rejected. profile gpu is not served here"]
    assert failed.why().why == ["It has ended with outcome error."]


async def test_the_async_handle_says_the_same(either_settings: ClientSettings, played: Any) -> None:
    async with AsyncClient(settings=either_settings) as client:
        handle = await client.submit("input()", stdin_open=True)
        played.begin(handle.id)

        assert (await handle.why()).cause is Cause.INPUT


def test_a_look_is_one_script_and_changes_nothing(client: Client, redis: Redis, played: Any) -> None:
    first, second = (client.submit(str(n), session="s") for n in range(2))
    played.begin(first.id)
    keys = Keys(client.settings.prefix)
    before = {key: redis.dump(key) for key in redis.scan_iter(f"{keys.prefix}*")}
    flow = why(keys, client.settings.tenant, second.id)

    call = next(flow)
    with pytest.raises(StopIteration) as answered:
        flow.send(played.run(call))

    assert answered.value.value.behind == first.id
    assert {key: redis.dump(key) for key in redis.scan_iter(f"{keys.prefix}*")} == before


@pytest.mark.parametrize("tenant", ["default", "other"])
def test_an_unknown_job_and_that_of_another_tenant_are_said_to_be_unknown(
    settings: ClientSettings, tenant: str
) -> None:
    with Client(settings=settings) as client, Client(settings=settings, tenant=tenant) as other:
        made = client.submit("1").id if tenant == "other" else "00000000-0000-7000-8000-000000000000"
        with pytest.raises(errors.UnknownJob):
            other.job(made).why()
