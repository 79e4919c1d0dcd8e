"""What can the scripts that clients call answer? Unions by script at the end; read them with `match`."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from msgspec import Struct

from leasebox.contract.scripts.answers import Cancelled, Gone


class SubmitPace(Struct, frozen=True):
    """A tenant's `submits_per_minute`, how many are left of it, and seconds until the next minute begins."""

    bound: int
    left: int
    reset_s: float


class Accepted(Struct, frozen=True):
    """`position`: jobs before it, an estimate. `woken`: a wake-up was sent; else it is parked behind others.

    `pace`: None where the tenant may submit as often as it likes.
    """

    job: str
    position: int
    woken: bool
    existing: bool = False
    pace: SubmitPace | None = None


class Existing(Struct, frozen=True):
    """The job that was accepted before under the same id, or idempotency key, with the same digest.

    `batch`: the one that it belongs to, or ''.
    """

    job: str
    state: str
    batch: str = ""
    existing: bool = True


class Conflict(Struct, frozen=True):
    """Same id or idempotency key, other digest."""

    job: str


class Quota(Struct, frozen=True):
    """`which`: queued, sessions, submits_per_minute, cpu_s_per_day or bytes_per_day."""

    which: str
    retry_after: float
    bound: float


class Full(Struct, frozen=True):
    """The queue takes no more for now: it holds `queued` jobs, `bound` being the most."""

    retry_after: float
    queued: int
    bound: int


class InputFull(Struct, frozen=True):
    """The job's input takes no more for now."""

    retry_after: float


class ProfileDiffers(Struct, frozen=True):
    """The live session has another profile: this one."""

    profile: str


class Refused(Struct, frozen=True):
    """`reason`: batch_closed."""

    reason: str


class BlobGone(Struct, frozen=True):
    """An uploaded file has expired."""

    blob: str


class Expired(Struct, frozen=True):
    """The session is over, for this reason."""

    reason: str


class Beyond(Struct, frozen=True):
    """The operator allows `field` this much at most; nothing was made."""

    field: str
    bound: float


class SessionRecord(NamedTuple):
    """A session as `open` made or found it; times are unix seconds."""

    created: bool
    state: str
    profile: str
    node: str | None
    generation: int
    created_at: float
    used_at: float
    expires_at: float
    idle_timeout_s: float
    max_age_s: float
    pending: int
    executions: int
    last_exit_code: int | None
    close_reason: str | None
    lost_reason: str | None


class Fed(Struct, frozen=True):
    """The chunk is in the job's input (or was there already)."""


class WrongState(Struct, frozen=True):
    """The job takes no input: it has finished, has no open input, or its end was written (`eof`)."""

    state: str


class Sealed(Struct, frozen=True):
    """The batch takes no further jobs."""

    total: int
    done: int


class Requested(Struct, frozen=True):
    """The holder was told; the job ends when its processes are gone."""


class Erased(Struct, frozen=True):
    """The job is forgotten."""


class NotFinished(Struct, frozen=True):
    """Only a finished job can be forgotten; this one is in this state."""

    state: str


class AlreadyFinished(Struct, frozen=True):
    """Too late: the job had ended, with this outcome."""

    outcome: str


class BatchOpened(Struct, frozen=True):
    """The batch is there, now or since an earlier call."""


class BatchTaken(Struct, frozen=True):
    """Another tenant has a batch of this id."""


class BatchCancelled(Struct, frozen=True):
    """`next_place`: where to go on, None when done."""

    next_place: int | None


class Closed(Struct, frozen=True):
    """`more`: jobs are left, ask again."""

    reason: str
    more: bool = False


class Closing(Struct, frozen=True):
    """A job holds the session; its end completes the close. `more`: queued jobs are left, ask again."""

    more: bool = False


class Touched(Struct, frozen=True):
    """The session may be swept at `expires_at` (unix seconds), unless it is used before."""

    expires_at: float


# By script.

SubmitAnswer: TypeAlias = (
    Accepted | Existing | Conflict | Quota | Full | ProfileDiffers | Refused | BlobGone | Expired | Beyond
)  # fmt: skip
OpenAnswer: TypeAlias = SessionRecord | ProfileDiffers | Expired | Quota | Beyond
FeedAnswer: TypeAlias = Fed | WrongState | InputFull | Gone
SealAnswer: TypeAlias = Sealed | Gone
CancelAnswer: TypeAlias = Cancelled | Requested | AlreadyFinished | Gone
EraseAnswer: TypeAlias = Erased | NotFinished | Gone
OpenBatchAnswer: TypeAlias = BatchOpened | BatchTaken
CancelBatchAnswer: TypeAlias = BatchCancelled | Gone
CloseAnswer: TypeAlias = Closed | Closing
TouchAnswer: TypeAlias = Touched | Expired
