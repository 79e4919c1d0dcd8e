"""What can the scripts that clients call answer? Unions by script at the end; read them with `match`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from leasebox.contract.scripts.answers import Cancelled, Gone


@dataclass(frozen=True, slots=True)
class SubmitPace:
    """A tenant's `submits_per_minute`, how many are left of it, and seconds until the next minute begins."""

    bound: int
    left: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """`position`: jobs before it, an estimate. `woken`: a wake-up was sent; else it is parked behind others.

    `pace`: None where the tenant may submit as often as it likes.
    """

    job: str
    position: int
    woken: bool
    existing: bool = False
    pace: SubmitPace | None = None


@dataclass(frozen=True, slots=True)
class Existing:
    """The job that was accepted before under the same id, or idempotency key, with the same digest.

    `batch`: the one that it belongs to, or ''.
    """

    job: str
    state: str
    batch: str = ""
    existing: bool = True


@dataclass(frozen=True, slots=True)
class Conflict:
    """Same id or idempotency key, other digest."""

    job: str


@dataclass(frozen=True, slots=True)
class Quota:
    """`which`: queued, sessions, submits_per_minute, cpu_s_per_day or bytes_per_day."""

    which: str
    retry_after: float
    bound: float


@dataclass(frozen=True, slots=True)
class Full:
    """The queue takes no more for now: it holds `queued` jobs, `bound` being the most."""

    retry_after: float
    queued: int
    bound: int


@dataclass(frozen=True, slots=True)
class InputFull:
    """The job's input takes no more for now."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class ProfileDiffers:
    """The live session has another profile: this one."""

    profile: str


@dataclass(frozen=True, slots=True)
class Refused:
    """`reason`: batch_closed."""

    reason: str


@dataclass(frozen=True, slots=True)
class BlobGone:
    """An uploaded file has expired."""

    blob: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The session is over, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Beyond:
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


@dataclass(frozen=True, slots=True)
class Fed:
    """The chunk is in the job's input (or was there already)."""


@dataclass(frozen=True, slots=True)
class WrongState:
    """The job takes no input: it has finished, has no open input, or its end was written (`eof`)."""

    state: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """The batch takes no further jobs."""

    total: int
    done: int


@dataclass(frozen=True, slots=True)
class Requested:
    """The holder was told; the job ends when its processes are gone."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The job is forgotten."""


@dataclass(frozen=True, slots=True)
class NotFinished:
    """Only a finished job can be forgotten; this one is in this state."""

    state: str


@dataclass(frozen=True, slots=True)
class AlreadyFinished:
    """Too late: the job had ended, with this outcome."""

    outcome: str


@dataclass(frozen=True, slots=True)
class BatchOpened:
    """The batch is there, now or since an earlier call."""


@dataclass(frozen=True, slots=True)
class BatchTaken:
    """Another tenant has a batch of this id."""


@dataclass(frozen=True, slots=True)
class BatchCancelled:
    """`next_place`: where to go on, None when done."""

    next_place: int | None


@dataclass(frozen=True, slots=True)
class Closed:
    """`more`: jobs are left, ask again."""

    reason: str
    more: bool = False


@dataclass(frozen=True, slots=True)
class Closing:
    """A job holds the session; its end completes the close. `more`: queued jobs are left, ask again."""

    more: bool = False


@dataclass(frozen=True, slots=True)
class Touched:
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
