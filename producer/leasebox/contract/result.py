"""How a job stands and how it ended, and how a session stands: `JobStatus`, `Outcome`, `Result`, `SessionInfo`."""

import base64
import sys
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer

from leasebox.contract import errors
from leasebox.contract.error_codes import BY_CODE
from leasebox.contract.queues import Priority
from leasebox.contract.spec import Limits

ARTIFACTS_MIME = "application/vnd.leasebox.artifacts+json"
"""Under this type a bundle says which artifact holds which of its parts: those that were too large for it."""


class Outcome(StrEnum):
    """How the user's code ended."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    OOM = "oom"
    OUTPUT_LIMIT = "output_limit"
    DISK_LIMIT = "disk_limit"
    PIDS_LIMIT = "pids_limit"
    KILLED = "killed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    LOST = "lost"
    INFRA = "infra"


class State(StrEnum):
    """State of a job's record."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    FINISHED = "finished"


class SessionState(StrEnum):
    """State of a session: `new` has no sandbox, `starting` makes one, `closing` waits for the end of its job."""

    NEW = "new"
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    CLOSING = "closing"
    CLOSED = "closed"


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


class Truncated(_Part):
    """Which streams lost their middle part in the Result."""

    stdout: bool = False
    stderr: bool = False


class Failure(_Part):
    """Why a job failed; for `rejected`, `lost` and `infra`, `name` is the class of our error."""

    name: str
    message: str = ""
    traceback: str | None = None


class Build(_Part):
    """The compile step."""

    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    run_s: float = 0.0


class Artifact(_Part):
    """A file kept after the run."""

    path: str
    size_bytes: int
    sha256: str
    content_type: str


class Usage(_Part):
    """Seconds and bytes that the job took.

    Attributes:
        queued_s: From its submit until a worker took it.
        lease_s: From then until it had its sandbox: the session's, a warm one, or a new one.
        start_s: From then until its files were in place and the program could start.
        run_s: The program itself, by the clock of the sandbox.
        settle_s: From the program's end until the Result was written down.
    """

    queued_s: float = 0.0
    lease_s: float = 0.0
    start_s: float = 0.0
    run_s: float = 0.0
    settle_s: float = 0.0
    cpu_s: float = 0.0
    memory_peak_bytes: int = 0
    output_bytes: int = 0
    disk_bytes: int = 0
    network_in_bytes: int = 0
    network_out_bytes: int = 0


class Result(_Part):
    """How a job ended, and what it left.

    `stdout` and `stderr` are UTF-8 with replacement; the raw bytes are `stdout_bytes` and `stderr_bytes`. Beyond
    `limits.output_bytes` per stream only the first three quarters and the last quarter are kept, and `truncated`
    says so.
    """

    job: str
    outcome: Outcome
    ok: bool = False
    exit_code: int | None = None
    signal: int | None = None
    stdout: str = ""
    stderr: str = ""
    stdout_base64: str | None = None
    stderr_base64: str | None = None
    truncated: Truncated = Truncated()
    limit: str | None = None
    error: Failure | None = None
    build: Build | None = None
    results: list[dict[str, Any]] = Field(default_factory=list)
    artifacts: list[Artifact] = Field(default_factory=list)
    new_files: list[str] = Field(default_factory=list)
    interpreter: str = "none"
    session: str | None = None
    sandbox: str | None = None
    driver: str | None = None
    isolation: str | None = None
    node: str | None = None
    attempt: int = 0
    limits: Limits | None = None
    runtime: str | None = None
    existing: bool = False
    usage: Usage = Usage()
    message: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def stdout_bytes(self) -> bytes:
        """Standard output as the program wrote it."""
        return base64.b64decode(self.stdout_base64) if self.stdout_base64 is not None else self.stdout.encode()

    @property
    def stderr_bytes(self) -> bytes:
        """Standard error as the program wrote it."""
        return base64.b64decode(self.stderr_base64) if self.stderr_base64 is not None else self.stderr.encode()

    def raise_for_outcome(self) -> "Result":
        """Return self if the outcome is `ok`.

        Raises:
            JobFailed: The class that belongs to the outcome; its detail is `message` or the error's.
        """
        if self.outcome is Outcome.OK:
            return self
        detail = self.message or (self.error.message if self.error else "")
        if self.outcome is Outcome.LOST and self.error and self.error.name == "SessionExpired":
            raise errors.SessionExpired(detail)
        raise BY_CODE[self.outcome](detail or f"job {self.job} ended {self.outcome}")

    def show(self) -> None:
        """Show output, results and error: in a notebook as pictures and tables, elsewhere as text."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        notebook = sys.modules.get("IPython")
        for bundle in self.results:
            if notebook is not None and notebook.get_ipython() is not None:
                notebook.display.display(bundle, raw=True)
            else:
                sys.stdout.write(f"{bundle.get('text/plain', list(bundle))}\n")
        if self.error and self.error.traceback:
            sys.stderr.write(self.error.traceback)

    @model_serializer(mode="wrap")
    def _without_absent_base64(self, handler: Any) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name in ("stdout_base64", "stderr_base64"):
            if data.get(name) is None:
                data.pop(name, None)
        return data


class Variable(_Part):
    """One variable of a kept interpreter; `value` is the text of simple values alone."""

    name: str
    type: str
    length: int | None = None
    shape: list[int] | None = None
    value: str | None = None


class JobStatus(_Part):
    """How a job stands now; `position` is an estimate, 0 = next, None from `starting` on."""

    id: str
    state: State
    outcome: Outcome | None = None
    queue: str
    position: int | None = None
    session: str | None = None
    node: str | None = None
    attempt: int = 1
    submitted_at: float
    started_at: float | None = None
    finished_at: float | None = None
    cancel_requested: bool = False
    profile: str | None = None
    language: str | None = None
    priority: Priority = Priority.DEFAULT
    metadata: dict[str, str] = Field(default_factory=dict)


class SessionInfo(_Part):
    """How a session stands now.

    Attributes:
        generation: How many sandboxes it has had; a change means that its files are new.
        expires_at: When it ends if nothing happens until then; None while a job has it, and once it is closed.
        pending: Jobs that have not ended, the running one included.
        executions: Programs started.
        close_reason: Why it ended or is about to: `closed`, `idle`, `max_age` or `evicted`.
        lost_reason: Its last sandbox ended for this reason, and no program has started in a new one since.
    """

    name: str
    state: SessionState
    profile: str
    node: str | None = None
    generation: int = 0
    created_at: float
    used_at: float
    expires_at: float | None = None
    idle_timeout_s: float
    max_age_s: float
    pending: int = 0
    executions: int = 0
    last_exit_code: int | None = None
    close_reason: str | None = None
    closed_at: float | None = None
    lost_reason: str | None = None
