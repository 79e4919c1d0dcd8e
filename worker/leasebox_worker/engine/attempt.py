"""What does the worker know of one claim of one job, on its way from admission to its end?"""

import base64
import binascii
from dataclasses import dataclass, field

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.result import Build
from leasebox.contract.scripts import answers as a
from leasebox.contract.spec import FileContent, JobSpec
from leasebox_worker.engine.cells import Told
from leasebox_worker.engine.publisher import Publisher
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.policy.admit import Grant


@dataclass(slots=True)
class Times:
    """Moments of an attempt, unix or monotonic seconds as the field says, filled in as they pass."""

    lease_s: float = 0.0
    start_s: float = 0.0
    exited_at: float | None = None
    redis_s: float = 0.0


@dataclass(slots=True)
class Attempt:
    """One claim of one job."""

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


def content_bytes(content: FileContent | str | None) -> bytes:
    """The bytes of a file or of standard input.

    Raises:
        InvalidSpec: They are not in the record, or not base64.
    """
    if content is None:
        return b""
    text = content if isinstance(content, str) else content.text
    if text is not None:
        return text.encode(errors="surrogateescape")
    assert isinstance(content, FileContent)
    if content.base64 is None:
        raise InvalidSpec("files: this worker does not take blobs")
    try:
        return base64.b64decode(content.base64)
    except binascii.Error as exc:
        raise InvalidSpec(f"files: a content is not base64: {exc}") from exc


def bytes_of(secrets: dict[str, str]) -> list[bytes]:
    """The values as a program writes them."""
    return [value.encode(errors="surrogateescape") for value in secrets.values()]
