"""What goes on in the installation, at one glance? Queues, nodes, sessions and the newest jobs, read in one trip."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leasebox import _reads, _sessions
from leasebox._reads import Flow, NodeStatus, QueueStatus
from leasebox.contract.keys import Keys
from leasebox.contract.result import JobStatus, SessionInfo, State
from leasebox.contract.scripts import looks

MAX_JOBS = 200
MAX_SESSIONS = 200
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Overview:
    """What was seen; `at` is unix seconds.

    Attributes:
        jobs: The tenant's newest, at most `MAX_JOBS`, the newest first.
        sessions: Of its live ones about `MAX_SESSIONS` at most; None where one may not see them.
        live: How many live sessions it has; None where nobody told.
    """

    at: float
    queues: Sequence[QueueStatus]
    nodes: Sequence[NodeStatus]
    jobs: Sequence[JobStatus]
    sessions: Sequence[SessionInfo] | None
    live: int | None = None


def overview(keys: Keys, tenant: str, *, has_sessions: bool) -> Flow[Overview]:
    """By one script."""
    answer = yield looks.overview(keys, tenant=tenant, jobs=MAX_JOBS, sessions=MAX_SESSIONS)
    seen = overview_of(json.loads(answer.json))
    return seen if has_sessions else Overview(seen.at, seen.queues, seen.nodes, seen.jobs, None)


def overview_of(seen: Mapping[str, Any]) -> Overview:
    """The values from the script's document, in which an empty list is an empty object."""
    now, bound = float(seen["now"]), seen.get("max_jobs")
    return Overview(
        at=now,
        queues=[
            QueueStatus(q["name"], q["queued"], q["waiting"], q["messages"], int(bound) if bound else None)
            for q in seen["queues"]
        ],
        nodes=sorted((_node(fields, now) for fields in seen["nodes"] or ()), key=lambda node: node.name),
        jobs=[_reads.status_of(job["id"], job) for job in seen["jobs"] or () if job.get("kind") != "file"],
        sessions=[session for fields in seen["sessions"] or () if (session := _session(fields)) is not None],
        live=seen["live"],
    )


def node_fields(node: NodeStatus) -> dict[str, object]:
    """A node, with what it reported, as `leasebox nodes --json` and the API tell it."""
    told = {"name": node.name, "state": node.state, "silent_s": node.silent_s, "heartbeat": node.heartbeat}
    return {**told, **node.fields}


def _node(fields: Mapping[str, str], now: float) -> NodeStatus:
    told = {name: value for name, value in fields.items() if name not in ("name", "heartbeat")}
    silent_s = max(0.0, now - float(fields.get("seen_at") or 0))
    return NodeStatus(fields["name"], int(float(fields["heartbeat"])), silent_s, told)


def _session(fields: Mapping[str, Any]) -> SessionInfo | None:
    return _sessions.session_of(fields["line"].partition("/")[2], fields, fields["pending"])


def running(seen: Overview) -> list[JobStatus]:
    """The jobs that a node has, the one that was started first at the top."""
    found = [job for job in seen.jobs if job.state in (State.STARTING, State.RUNNING)]
    return sorted(found, key=lambda job: job.started_at or seen.at)


def outcomes(seen: Overview) -> Counter[str]:
    """How often the newest jobs ended in which way."""
    return Counter(str(job.outcome) for job in seen.jobs if job.outcome is not None)


def ended_lately(seen: Overview) -> int:
    """How many of the newest jobs ended within the last minute."""
    return sum(job.finished_at is not None and seen.at - job.finished_at < MINUTE_S for job in seen.jobs)
