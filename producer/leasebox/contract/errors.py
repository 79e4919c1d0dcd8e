"""Which errors exist, what each says over HTTP, and whether trying again can help.

LeaseboxError
├── InvalidSpec · UnknownProfile · UnknownJob · UnknownSession · UnknownBatch · UnknownKey · WrongState · Unauthorized
│   · Forbidden · ConfigError                       the request is wrong; do not retry
├── QueueError    ── BrokerUnavailable* · QueueFull* · QuotaExceeded* · IdempotencyConflict · BatchClosed
│   · PartlyRefused
├── LeaseError    ── SessionExpired · LeaseLost
├── SandboxError  ── ImageMissing · StartFailed* · SandboxDied* · GuestProtocolError · DriverUnsafe
├── FileError     (codes not_found, too_large, not_a_file, outside_workspace)
├── StreamError   ── StreamTimeout* · StreamExpired
└── JobFailed     ── one per outcome, only from Result.raise_for_outcome() and AsyncResult                 (* retryable)

Every class takes its detail as the first argument, because Celery's result backend rebuilds an exception from a list
of strings.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class LeaseboxError(Exception):
    """The root of everything that Leasebox raises.

    Attributes:
        code: Stable name of the error, the same in Python, HTTP and JSON.
        retryable: Whether the same request may succeed later, unchanged.
        http_status: Status of the problem document that carries it.
        detail: What happened, to what.
        hint: The next step, where one is known.
    """

    code: str = "leasebox_error"
    retryable: ClassVar[bool] = False
    http_status: int = 500

    def __init__(self, detail: str = "", *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} ({self.hint})" if self.hint else self.detail


class InvalidSpec(LeaseboxError):
    """A field of the request is wrong; `detail` names the field and its bound. Nothing was queued."""

    code = "invalid_spec"
    http_status = 422


class UnknownProfile(LeaseboxError):
    """No node serves a profile of this name."""

    code = "unknown_profile"
    http_status = 422


class UnknownJob(LeaseboxError):
    """No job of this id in this tenant; it may have been forgotten after `result_ttl`."""

    code = "unknown_job"
    http_status = 404


class UnknownSession(LeaseboxError):
    """No session of this name in this tenant."""

    code = "unknown_session"
    http_status = 404


class UnknownBatch(LeaseboxError):
    """No batch of this id in this tenant."""

    code = "unknown_batch"
    http_status = 404


class UnknownKey(LeaseboxError):
    """No API key of this id, or it is revoked."""

    code = "unknown_key"
    http_status = 404


class WrongState(LeaseboxError):
    """The job or session is not in a state that allows this."""

    code = "wrong_state"
    http_status = 409


class Unauthorized(LeaseboxError):
    """No key, or one that is unknown, expired or revoked."""

    code = "unauthorized"
    http_status = 401


class Forbidden(LeaseboxError):
    """The key lacks the scope."""

    code = "forbidden"
    http_status = 403


class ConfigError(LeaseboxError):
    """A setting is missing, malformed or contradicts what the server can do."""

    code = "config_error"


class QueueError(LeaseboxError):
    """The queue did not take the request.

    Attributes:
        retry_after_s: When it makes sense to try again, where that is known.
    """

    code = "queue_error"
    http_status = 503

    def __init__(self, detail: str = "", *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after_s = retry_after_s


class BrokerUnavailable(QueueError):
    """Redis did not answer; a submit may or may not have been accepted (repeat it with an idempotency key)."""

    code = "broker_unavailable"
    retryable = True


class QueueFull(QueueError):
    """The queue holds as many jobs as its operator allows, or Redis is at its memory limit.

    Attributes:
        position: How many jobs the queue holds, all before the refused one; None where it is not a queue that is full.
    """

    code = "queue_full"
    retryable = True
    http_status = 429
    position: int | None = None


class QuotaExceeded(QueueError):
    """The tenant has or does as much as its operator allows.

    Attributes:
        quota: The field of the operator's file that is reached, or `requests_per_minute`; None where it is not told.
        bound: Its value; seconds, bytes or a number.
    """

    code = "quota_exceeded"
    retryable = True
    http_status = 429
    quota: str | None = None
    bound: float | None = None


class IdempotencyConflict(QueueError):
    """The idempotency key was used for another spec."""

    code = "idempotency_conflict"
    http_status = 409


class BatchClosed(QueueError):
    """The batch is sealed or cancelled and takes no further jobs."""

    code = "batch_closed"
    http_status = 409


class PartlyRefused(QueueError):
    """Some specs of many were refused; the others are queued.

    Attributes:
        handles: One for each spec, None where it was refused.
        errors: `ItemError` of each refused spec: index, code, detail.
    """

    code = "partly_refused"
    http_status = 422

    def __init__(
        self, detail: str = "", *, hint: str | None = None, handles: Sequence[Any] = (), errors: Sequence[Any] = ()
    ) -> None:
        super().__init__(detail, hint=hint)
        self.handles = list(handles)
        self.errors = list(errors)


class LeaseError(LeaseboxError):
    """A lease or session ended."""

    code = "lease_error"
    http_status = 410


class SessionExpired(LeaseError):
    """The session had to exist and does not; `detail` carries the reason of its end. No code was started."""

    code = "session_expired"


class LeaseLost(LeaseError):
    """Another holder took the job over. Not a failure of the job: the other holder reports it."""

    code = "lease_lost"
    http_status = 409


class SandboxError(LeaseboxError):
    """A sandbox could not be made or used."""

    code = "sandbox_error"
    http_status = 503


class ImageMissing(SandboxError):
    """The engine does not have the image of the profile."""

    code = "image_missing"


class StartFailed(SandboxError):
    """The sandbox did not become ready."""

    code = "start_failed"
    retryable = True


class SandboxDied(SandboxError):
    """The sandbox ended under us."""

    code = "sandbox_died"
    retryable = True


class GuestProtocolError(SandboxError):
    """The agent broke the protocol of its channel; the sandbox is not trusted further."""

    code = "guest_protocol_error"


class DriverUnsafe(SandboxError):
    """A required protection is not in effect; the driver refuses to run anything."""

    code = "driver_unsafe"


class FileError(LeaseboxError):
    """A file operation in a sandbox failed.

    Attributes:
        code: `not_found`, `too_large`, `not_a_file` or `outside_workspace`; `file_error` for all else.
    """

    code = "file_error"
    http_status = 409

    def __init__(self, detail: str = "", *, hint: str | None = None, code: str = "file_error") -> None:
        super().__init__(detail, hint=hint)
        self.code = code
        self.http_status = {"not_found": 404, "too_large": 413, "outside_workspace": 422}.get(code, 409)


class StreamError(LeaseboxError):
    """The event stream cannot go on."""

    code = "stream_error"


class StreamTimeout(StreamError):
    """The given time ran out; the job goes on."""

    code = "stream_timeout"
    retryable = True
    http_status = 504


class StreamExpired(StreamError):
    """`events_ttl` has passed; the result is still there."""

    code = "stream_expired"
    http_status = 410


class JobFailed(LeaseboxError):
    """The job ended with an outcome other than `ok`; only from `raise_for_outcome()` and `AsyncResult.get()`.

    Over HTTP it is the answer of a file route, whose operation is a job. A job that is asked for is never a problem,
    however it ended: that is 200 and its Result.
    """

    code = "job_failed"


class NonZeroExit(JobFailed):
    """The program ended by itself with an exit code other than 0."""

    code = "error"


class JobTimeout(JobFailed):
    """A time limit (wall, cpu or silence) ended the job."""

    code = "timeout"
    http_status = 504


class OutOfMemory(JobFailed):
    """The memory limit ended the job."""

    code = "oom"
    http_status = 507


class OutputLimit(JobFailed):
    """The job wrote more than `stream_bytes`."""

    code = "output_limit"
    http_status = 507


class DiskLimit(JobFailed):
    """The job failed at its disk limit."""

    code = "disk_limit"
    http_status = 507


class PidsLimit(JobFailed):
    """The job failed at its limit of processes."""

    code = "pids_limit"
    http_status = 507


class JobKilled(JobFailed):
    """A signal from inside the sandbox ended the program."""

    code = "killed"


class JobCancelled(JobFailed):
    """The job was cancelled."""

    code = "cancelled"
    http_status = 409


class JobExpired(JobFailed):
    """The job had not started when `expires_in_s` had passed."""

    code = "expired"
    http_status = 409


class JobRejected(JobFailed):
    """The job was refused at admission and never started."""

    code = "rejected"
    http_status = 422


class JobLost(JobFailed):
    """The node or sandbox died under the job."""

    code = "lost"
    retryable = True
    http_status = 503


class JobInfra(JobFailed):
    """Leasebox failed; `detail` says at what."""

    code = "infra"
    retryable = True
    http_status = 503
