"""What can each script answer? Unions by script at the end; read them with `match`.

Dataclasses: two answers without fields would be equal as tuples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

# Shared by many scripts.


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such record (any more)."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Somebody else has the job now; nothing was changed. Kill what runs."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """This incarnation is not registered or was reclaimed: kill everything, then adopt."""


@dataclass(frozen=True, slots=True)
class Requeued:
    """The job is queued again where it stood; `woken` is the queue, or '' while it is in back-off."""

    woken: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The job ended instead."""

    outcome: str


@dataclass(frozen=True, slots=True)
class NameTaken:
    """Another live process has this node's name; it counts as silent after `seconds`."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Of `cancel`: it ended at once. Of `start`: the flag is set, do not start, settle `cancelled`."""


# Threads of a worker.


class Work(NamedTuple):
    """What a worker must know to run its claim. Times are unix seconds."""

    job: str
    spec: bytes
    kind: str
    tenant: str
    session: str | None
    profile: str
    claims: int
    runs: int
    starts: int
    lease: str
    cancel_requested: bool
    generation: int
    must_exist: bool
    retries: int
    submitted_at: float
    claimed_at: float
    queue: str
    metadata_json: str
    idle_timeout_s: float | None
    max_age_s: float | None
    contract_version: str
    display_name: str
    stdin_open: bool
    traceparent: str | None
    session_expired: str | None
    """Set when `bind` would answer SessionExpired: no need to make a sandbox, settle `lost`."""


@dataclass(frozen=True, slots=True)
class Leased:
    """Claimed, with the session's sandbox or one of the pool, which is bound already."""

    work: Work
    sandbox: str


@dataclass(frozen=True, slots=True)
class Cold:
    """Claimed; make a sandbox and bind it."""

    work: Work


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The session lives on another node, whose queue was woken."""

    woken: str


@dataclass(frozen=True, slots=True)
class Later:
    """`reason`: not_before, tenant, full (stop consuming the shared queues), draining."""

    reason: str


@dataclass(frozen=True, slots=True)
class Busy:
    """The head of the line is claimed."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left in the line."""


@dataclass(frozen=True, slots=True)
class More:
    """Many expired jobs were ended; ask again."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The sandbox belongs to the line; `generation` counts the session's sandboxes from 1."""

    generation: int


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The job wants the session as it was, and it is gone: settle `lost`. Nothing was bound."""

    reason: str


@dataclass(frozen=True, slots=True)
class Go:
    """`attempt` counts from 1."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Taken:
    """There is room for more input."""


@dataclass(frozen=True, slots=True)
class Ok:
    """The chunks are in the stream, each once."""

    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Next:
    """Settled, and the line's next job is claimed. `again`: it had been settled before."""

    work: Work
    sandbox: str
    kill: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Free:
    """Settled. `woken`: the queue of the line's next job, or ''. `kill`: a sandbox that has ended with the job."""

    woken: str
    kill: str | None = None
    again: bool = False


# Nodes and reapers.


@dataclass(frozen=True, slots=True)
class Alive:
    """Of `heartbeat`: jobs whose lease is not ours (kill), jobs to cancel. `more`: call again at once."""

    not_ours: tuple[str, ...]
    cancelled: tuple[str, ...]
    more: bool = False


class FoundSandbox(NamedTuple):
    """A session's sandbox that a node found at its start; `line` is `tenant/session`."""

    line: str
    generation: int
    sandbox: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """`more`: claims are left, ask again with what was kept."""

    keep: tuple[FoundSandbox, ...]
    destroy: tuple[FoundSandbox, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Detached:
    """The session has no sandbox any more. `woken`: the queue of its next job, or ''."""

    woken: str


@dataclass(frozen=True, slots=True)
class StillAlive:
    """Of `reclaim`: the node moved; nothing was done."""


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """So many claims were given up; `more`: ask again."""

    jobs: int
    more: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """The conditions do not hold (any more); nothing was done."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """So many sessions lost their sandbox; `more`: ask again."""

    sessions: int
    more: bool


@dataclass(frozen=True, slots=True)
class Swept:
    """`jobs` ended expired, `sessions` without a sandbox ended idle, `woken` lines have waited out their back-off."""

    jobs: int
    sessions: int
    woken: int
    more: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """The session has ended: destroy its sandbox."""

    sandbox: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pooled:
    """How many warm sandboxes the pool has now."""

    size: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The warm sandbox is in no pool any more, and no job has it."""


@dataclass(frozen=True, slots=True)
class Published:
    """These are the profiles of the installation."""


@dataclass(frozen=True, slots=True)
class Differs:
    """A live node says otherwise; `what`: profiles or quotas."""

    node: str
    what: str


# By script.

AcquireAnswer: TypeAlias = Leased | Cold | Elsewhere | Later | Busy | Done | Gone | Fenced | More
BindAnswer: TypeAlias = Bound | SessionExpired | LeaseLost | Gone
StartAnswer: TypeAlias = Go | Cancelled | LeaseLost | Gone
EmitAnswer: TypeAlias = Ok | LeaseLost | Gone
TakenAnswer: TypeAlias = Taken | LeaseLost | Gone
SettleAnswer: TypeAlias = Next | Free | LeaseLost | Gone
GiveUpAnswer: TypeAlias = Requeued | Ended | LeaseLost | Gone
HeartbeatAnswer: TypeAlias = Alive | NameTaken | Fenced
AdoptAnswer: TypeAlias = Adopted | NameTaken
DetachAnswer: TypeAlias = Detached | Kept
ReclaimAnswer: TypeAlias = Reclaimed | StillAlive
OverdueAnswer: TypeAlias = Requeued | Ended | Kept | Gone
ForgetAnswer: TypeAlias = Forgotten | Kept
SweepAnswer: TypeAlias = Kill | Kept
PoolPushAnswer: TypeAlias = Pooled | Fenced
PoolDropAnswer: TypeAlias = Dropped | Kept
PublishAnswer: TypeAlias = Published | Differs
