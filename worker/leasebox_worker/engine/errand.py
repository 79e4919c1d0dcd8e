"""What does a sandbox's agent do for us besides jobs? Short errands with its workspace, as the job's uid."""

from collections.abc import Callable, Iterable

from leasebox.contract.error_codes import FILE_CODES
from leasebox.contract.files import MAX_PACKED
from leasebox_worker.engine.attempt import Attempt
from leasebox_worker.guestlink.messages import Exited
from leasebox_worker.guestlink.orders import Exec

WITHIN_S = 30.0
SLOWEST_BYTES_PER_S = 2 << 20
HOST_GRACE_S = 5.0
"""The agent enforces the time; a host that waits so much longer gives the sandbox up."""
ANSWER_BYTES = 16 << 20
"""Most that a list of names may have."""
HEADERS_BYTES = MAX_PACKED * 8192


def within_s(size_bytes: int) -> float:
    """How long an errand with so many bytes may take."""
    return WITHIN_S + size_bytes / SLOWEST_BYTES_PER_S


def run(
    attempt: Attempt,
    kind: str,
    argv: tuple[str, ...],
    *,
    stdin: Iterable[bytes] = (),
    sink: Callable[[bytes], object],
    most_bytes: int,
    time_s: float = WITHIN_S,
) -> tuple[Exited, str]:
    """Run one errand of an attempt in its sandbox; how it ended, and what it said of a failure.

    Args:
        sink: Takes what comes on stdout, as it comes.
        most_bytes: The agent ends the errand beyond that.

    Raises:
        SandboxDied, GuestProtocolError: As `GuestLink.run`.
    """
    sandbox = attempt.sandbox
    assert sandbox is not None
    workspace = sandbox.handle.workspace
    request = Exec(
        id=f"{attempt.work.lease}/{kind}",
        kind=kind,
        argv=argv,
        code_bytes=0,
        code_path=None,
        cwd=workspace,
        env={"HOME": workspace},
        wall_s=time_s,
        cpu_s=None,
        silence_s=None,
        stream_bytes=most_bytes,
        line_buffered=True,
        cancel_grace_s=1.0,
    )
    exited, stderr = sandbox.link.run_into(sink, request, b"", stdin, within_s=time_s + HOST_GRACE_S)
    attempt.is_sandbox_alive = attempt.is_sandbox_alive and exited.is_clean
    said = stderr.decode(errors="replace").strip()[:500]
    return exited, said or exited.error or ""


def failure(exited: Exited, said: str, bound: str) -> tuple[str, str]:
    """The code of a FileError and the sentence, of an errand that failed.

    Args:
        bound: What to say where there was more than `most_bytes`.
    """
    if exited.limit == "output":
        return "too_large", bound
    if exited.limit is not None:
        return "file_error", "took too long"
    code, _, rest = said.partition(" ")
    return (code, rest) if code in FILE_CODES else ("file_error", said or f"failed with {exited.code}")
