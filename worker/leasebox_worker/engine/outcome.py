"""How to name the way a job ended. Pure: from what agent and host saw to an outcome."""

from dataclasses import dataclass
from signal import SIGXFSZ

from leasebox.contract.result import Outcome
from leasebox_worker.drivers.base import Stats
from leasebox_worker.guestlink.messages import Exited


@dataclass(frozen=True, slots=True)
class Ended:
    """An outcome with the fields of the Result that explain it."""

    outcome: Outcome
    exit_code: int | None
    signal: int | None
    limit: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What the host's kernel counted in a sandbox during one job.

    Attributes:
        was_oom: It killed a process for the memory limit.
        was_refused_a_process: It refused a fork or a thread for the process limit.
        memory_peak_bytes: Most that the whole sandbox held at once, its files included; None if nobody knows, or an
            earlier job of the sandbox held more.
    """

    was_oom: bool = False
    was_refused_a_process: bool = False
    memory_peak_bytes: int | None = None


def counted(before: Stats, after: Stats) -> Counted:
    """What came to pass between two looks."""
    return Counted(
        was_oom=after.oom_kills > before.oom_kills,
        was_refused_a_process=after.pids_refused > before.pids_refused,
        memory_peak_bytes=after.memory_peak_bytes if after.memory_peak_bytes > before.memory_peak_bytes else None,
    )


def name_ending(exited: Exited, seen: Counted) -> Ended:
    """Name an ending; a limit that we enforced comes before what the program made of it.

    What the kernel tells the program itself (no fork, no room) leaves it its own exit code, and names the ending only
    of a program that failed: one that coped is `ok`.
    """
    code, signal = exited.code, exited.signal
    if exited.is_cancelled:
        return Ended(Outcome.CANCELLED, code, signal, None, "cancelled")
    if exited.limit == "output":
        return Ended(Outcome.OUTPUT_LIMIT, code, signal, "output", "wrote more than limits.stream_bytes")
    if exited.limit is not None:
        return Ended(Outcome.TIMEOUT, code, signal, exited.limit, f"ended by its {exited.limit} limit")
    if seen.was_oom and code != 0:
        return Ended(Outcome.OOM, code, signal, "memory", "ended by its memory limit")
    if seen.was_refused_a_process and code != 0:
        return Ended(Outcome.PIDS_LIMIT, code, signal, "pids", "failed, and its process limit was reached")
    if (exited.is_disk_full and code != 0) or signal == SIGXFSZ:
        return Ended(Outcome.DISK_LIMIT, code, signal, "disk", "failed, and there was no room or no file left")
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
