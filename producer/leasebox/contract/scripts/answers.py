"""What can each script answer? Unions by script at the end; read them with `match`.

Structs: two answers without fields would be equal as tuples.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from msgspec import Struct

# Shared by many scripts.


class Gone(Struct, frozen=True):
    """There is no such record (any more)."""


class LeaseLost(Struct, frozen=True):
    """Somebody else has the job now; nothing was changed. Kill what runs."""


class Fenced(Struct, frozen=True):
    """This incarnation is not registered or was reclaimed: kill everything, then adopt."""


class Requeued(Struct, frozen=True):
    """The job is queued again where it stood; `woken` is the queue, or '' while it is in back-off."""

    woken: str


class Ended(Struct, frozen=True):
    """The job ended instead."""

    outcome: str


class NameTaken(Struct, frozen=True):
    """Another live process has this node's name; it counts as silent after `seconds`."""

    seconds: float = 0.0


class Cancelled(Struct, frozen=True):
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


class Leased(Struct, frozen=True):
    """Claimed, with the session's sandbox or one of the pool, which is bound already."""

    work: Work
    sandbox: str


class Cold(Struct, frozen=True):
    """Claimed; make a sandbox and bind it."""

    work: Work


class Elsewhere(Struct, frozen=True):
    """The session lives on another node, whose queue was woken."""

    woken: str


class Later(Struct, frozen=True):
    """`reason`: not_before, tenant, full (stop consuming the shared queues), draining."""

    reason: str


class Busy(Struct, frozen=True):
    """The head of the line is claimed."""


class Done(Struct, frozen=True):
    """Nothing is left in the line."""


class More(Struct, frozen=True):
    """Many expired jobs were ended; ask again."""


class Bound(Struct, frozen=True):
    """The sandbox belongs to the line; `generation` counts the session's sandboxes from 1."""

    generation: int


class SessionExpired(Struct, frozen=True):
    """The job wants the session as it was, and it is gone: settle `lost`. Nothing was bound."""

    reason: str


class Go(Struct, frozen=True):
    """`attempt` counts from 1."""

    attempt: int


class Taken(Struct, frozen=True):
    """There is room for more input."""


class Ok(Struct, frozen=True):
    """The chunks are in the stream, each once."""

    cancel_requested: bool


class Next(Struct, frozen=True):
    """Settled, and the line's next job is claimed. `again`: it had been settled before."""

    work: Work
    sandbox: str
    kill: str | None = None
    again: bool = False


class Free(Struct, frozen=True):
    """Settled. `woken`: the queue of the line's next job, or ''. `kill`: a sandbox that has ended with the job."""

    woken: str
    kill: str | None = None
    again: bool = False


# Nodes and reapers.


class Alive(Struct, frozen=True):
    """Of `heartbeat`: jobs whose lease is not ours (kill), jobs to cancel. `more`: call again at once."""

    not_ours: tuple[str, ...]
    cancelled: tuple[str, ...]
    more: bool = False


class FoundSandbox(NamedTuple):
    """A session's sandbox that a node found at its start; `line` is `tenant/session`."""

    line: str
    generation: int
    sandbox: str


class Adopted(Struct, frozen=True):
    """`more`: claims are left, ask again with what was kept."""

    keep: tuple[FoundSandbox, ...]
    destroy: tuple[FoundSandbox, ...]
    more: bool


class Detached(Struct, frozen=True):
    """The session has no sandbox any more. `woken`: the queue of its next job, or ''."""

    woken: str


class StillAlive(Struct, frozen=True):
    """Of `reclaim`: the node moved; nothing was done."""


class Reclaimed(Struct, frozen=True):
    """So many claims were given up; `more`: ask again."""

    jobs: int
    more: bool


class Kept(Struct, frozen=True):
    """The conditions do not hold (any more); nothing was done."""


class Forgotten(Struct, frozen=True):
    """So many sessions lost their sandbox; `more`: ask again."""

    sessions: int
    more: bool


class Swept(Struct, frozen=True):
    """`jobs` ended expired, `sessions` without a sandbox ended idle, `woken` lines have waited out their back-off."""

    jobs: int
    sessions: int
    woken: int
    more: bool


class Kill(Struct, frozen=True):
    """The session has ended: destroy its sandbox."""

    sandbox: str
    reason: str


class Pooled(Struct, frozen=True):
    """How many warm sandboxes the pool has now."""

    size: int


class Dropped(Struct, frozen=True):
    """The warm sandbox is in no pool any more, and no job has it."""


class Published(Struct, frozen=True):
    """These are the profiles of the installation."""


class Differs(Struct, frozen=True):
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
