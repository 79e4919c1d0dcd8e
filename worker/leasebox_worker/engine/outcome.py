"""How to name the way a job ended. Pure: from what agent and host saw to an outcome."""

from dataclasses import dataclass

from leasebox.contract.result import Outcome
from leasebox_worker.guestlink.messages import Exited


@dataclass(frozen=True, slots=True)
class Ended:
    """An outcome with the fields of the Result that explain it."""

    outcome: Outcome
    exit_code: int | None
    signal: int | None
    limit: str | None
    message: str


def name_ending(exited: Exited, *, was_oom: bool) -> Ended:
    """Name an ending; a limit that we enforced comes before what the program made of it.

    Args:
        was_oom: The host's kernel counted an out-of-memory kill in this sandbox during the job.
    """
    code, signal = exited.code, exited.signal
    if exited.is_cancelled:
        return Ended(Outcome.CANCELLED, code, signal, None, "cancelled")
    if exited.limit == "output":
        return Ended(Outcome.OUTPUT_LIMIT, code, signal, "output", "wrote more than limits.stream_bytes")
    if exited.limit is not None:
        return Ended(Outcome.TIMEOUT, code, signal, exited.limit, f"ended by its {exited.limit} limit")
    if was_oom and code != 0:
        return Ended(Outcome.OOM, code, signal, "memory", "ended by its memory limit")
    if signal is not None:
        return Ended(Outcome.KILLED, code, signal, None, exited.error or f"ended by signal {signal}")
    if code == 0:
        return Ended(Outcome.OK, 0, None, None, "")
    return Ended(Outcome.ERROR, code, None, None, exited.error or _raised(exited) or f"exited with {code}")


def _raised(exited: Exited) -> str | None:
    """What a cell raised, in one line."""
    failure = exited.failure
    if failure is None or failure.name == "SystemExit":
        return None
    return f"{failure.name}: {failure.message}"[:500]
