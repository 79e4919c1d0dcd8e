"""What does the worker know of one claim of one job, on its way from admission to its end?"""

import time
from dataclasses import dataclass, field

from leasebox.contract.files import FileOperation
from leasebox.contract.result import Build
from leasebox.contract.scripts import answers as a
from leasebox.contract.spec import JobSpec
from leasebox_worker.engine.cells import Told
from leasebox_worker.engine.left import Left
from leasebox_worker.engine.publisher import Publisher
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.policy.admit import Grant


@dataclass(slots=True)
class Times:
    """Moments of an attempt, unix or monotonic seconds as the field says, filled in as they pass.

    `excused_s` is what was not the job's while it ran: see `Deadline`.
    """

    began_at: float = field(default_factory=time.monotonic)
    lease_s: float = 0.0
    start_s: float = 0.0
    exited_at: float | None = None
    excused_s: float = 0.0


@dataclass(slots=True)
class Attempt:
    """One claim of one job.

    Attributes:
        operation: Of a record of kind `file`; then `spec` has nothing but what every job has.
        left: What of its files is kept.
    """

    work: a.Work
    spec: JobSpec
    grant: Grant | None
    sandbox: Sandbox | None
    publisher: Publisher
    times: Times
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    number: int = 0
    is_sandbox_alive: bool = True
    told: Told = field(default_factory=Told)
    build: Build | None = None
    operation: FileOperation | None = None
    left: Left = field(default_factory=Left)


def bytes_of(secrets: dict[str, str]) -> list[bytes]:
    """The values as a program writes them."""
    return [value.encode(errors="surrogateescape") for value in secrets.values()]
