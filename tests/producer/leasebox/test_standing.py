"""Is a person told what a job waits for?"""

from typing import Any

import pytest
from redis import Redis

from leasebox import Client, errors
from leasebox._reads import NodeStatus
from leasebox._standing import Facts, sentences
from leasebox.contract.scripts import worker

UP = (NodeStatus("n", 1, 1.0, {}),)
QUEUED = {"state": "queued", "queue": "leasebox.default", "tenant": "acme", "session": "s"}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (Facts(100, QUEUED), "No worker is up"),
        (Facts(100, QUEUED, nodes=(NodeStatus("n", 1, 99.0, {}),)), "No worker is up"),
        (Facts(100, QUEUED, nodes=UP), "It is next in queue leasebox.default."),
        (Facts(100, QUEUED, lines_before=3, nodes=UP), "3 are before it in queue leasebox.default."),
        (Facts(100, {**QUEUED, "not_before": "104.5"}, nodes=UP), "It is tried again in 4.5 s."),
        (Facts(100, {**QUEUED, "parked": "1"}, nodes=UP), "Tenant acme runs as many jobs as it may"),
        (
            Facts(100, QUEUED, 1, "j0", {"state": "running", "node": "n", "started_at": "90"}),
            "It waits in session s behind job j0, which node n has run for 10 seconds.",
        ),
        (
            Facts(100, QUEUED, 3, "j0", {"state": "starting", "node": "n"}),
            "behind job j0, for which node n is getting the sandbox ready and 2 more.",
        ),
        (Facts(100, QUEUED, 1, "j0", {"state": "queued"}), "behind job j0, which waits itself."),
        (Facts(100, QUEUED, 1, "j0", {"state": "running"}, is_closing=True), "Session s is being closed"),
        (
            Facts(100, {**QUEUED, "runs": "1"}, retried_reason="node_lost", nodes=UP),
            "Attempt 1 was given up. The node that ran the job stopped answering.",
        ),
        (Facts(100, {**QUEUED, "starts": "2"}, nodes=UP), "Getting its sandbox ready has failed 2 times."),
        (Facts(100, {**QUEUED, "expires_at": "130"}, nodes=UP), "It expires in 30 s unless it starts by then."),
        (
            Facts(100, {"state": "starting", "node": "n", "claimed_at": "99"}),
            "Node n has been getting its sandbox ready for 1 second.",
        ),
        (
            Facts(100, {"state": "running", "node": "n", "started_at": "40", "runs": "2"}),
            "Node n has run it for 1 minute (attempt 2).",
        ),
        (
            Facts(100, {"state": "running", "node": "n", "started_at": "40", "runs": "1", "cancel_requested": "1"}),
            "Its end was asked for",
        ),
        (Facts(100, {"state": "finished", "outcome": "lost"}), "It has ended with outcome lost."),
    ],
)
def test_a_situation_is_told(facts: Facts, told: str) -> None:
    assert told in " ".join(sentences(facts))


def test_a_job_behind_another_names_it(client: Client, played: Any) -> None:
    first, second = (client.submit(str(n), session="s") for n in range(2))
    played.begin(first.id)

    assert f"behind job {first.id}, which node {played.name} has run for" in second.why()[0]


def test_a_retried_job_says_why_and_when(client: Client, redis: Redis, played: Any) -> None:
    handle = client.submit("1", retries=1)
    work = played.begin(handle.id)
    played.run(worker.give_up(played.keys, job=work.job, lease=work.lease, why=worker.Why.SANDBOX_DIED))

    told = " ".join(handle.why())

    assert "It is tried again in" in told
    assert "Attempt 1 was given up. The job's sandbox died under it." in told
    assert handle.status().attempt == 2


def test_an_unknown_job_is_said_to_be_unknown(client: Client) -> None:
    with pytest.raises(errors.UnknownJob):
        client.job("00000000-0000-7000-8000-000000000000").why()
