"""Which scripts only look? why: the facts of one job; overview: queues, nodes, sessions and jobs. Each is one trip."""

from __future__ import annotations

from typing import NamedTuple

from leasebox.contract.keys import PRIORITIES, Keys
from leasebox.contract.queues import Priority
from leasebox.contract.scripts import answers
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, reader, text


class Found(NamedTuple):
    """What the script saw, as JSON; its head says of what form."""

    json: str


def why(keys: Keys, *, job: str, tenant: str) -> Call[Found | answers.Gone]:
    """Everything that says why a job of this tenant stands as it does."""
    return Call("why", (keys.job(job), keys.profiles()), (keys.names, job, tenant, Priority.INTERACTIVE), _why_answer)


def overview(keys: Keys, *, tenant: str, jobs: int, sessions: int) -> Call[Found]:
    """Queues and nodes, and of a tenant about as many of its newest jobs and live sessions."""
    args = (keys.names, tenant, jobs, sessions, *PRIORITIES)
    return Call("overview", (keys.recent(tenant), keys.tenant_sessions(tenant)), args, _overview_answer)


_overview_answer: Reader[Found] = reader({b"found": lambda json: Found(text(json))})
_why_answer: Reader[Found | answers.Gone] = reader({b"found": lambda json: Found(text(json)), b"gone": answers.Gone})
