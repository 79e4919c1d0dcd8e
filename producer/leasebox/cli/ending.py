"""How a job's end looks to a shell: the exit status, and the last line on stderr."""

from leasebox.contract.result import Outcome, Result
from leasebox.contract.sizes import size_text

CANCELLED = 130
STATUS = {
    Outcome.OK: 0,
    Outcome.TIMEOUT: 124,
    Outcome.OOM: 137,
    Outcome.OUTPUT_LIMIT: 122,
    Outcome.DISK_LIMIT: 122,
    Outcome.PIDS_LIMIT: 122,
    Outcome.CANCELLED: CANCELLED,
    Outcome.EXPIRED: 125,
    Outcome.REJECTED: 125,
    Outcome.LOST: 125,
    Outcome.INFRA: 125,
}
_OF_PROGRAM = (Outcome.OK, Outcome.ERROR, Outcome.KILLED)
# The other outcomes say by themselves what happened.
_EXPLAINED = (Outcome.CANCELLED, Outcome.EXPIRED, Outcome.REJECTED, Outcome.LOST, Outcome.INFRA)


def exit_status(result: Result) -> int:
    """CONTRACT.md section 5: the program's own, 128+N for signal N, or the number of our outcome."""
    if result.outcome in _OF_PROGRAM:
        if result.signal is not None:
            return 128 + result.signal
        return result.exit_code if result.exit_code is not None else STATUS.get(result.outcome, 1)
    return STATUS[result.outcome]


def last_line(result: Result) -> str:
    """The outcome in words, and where the time went; tells our 124 from the program's own."""
    usage = result.usage
    told = [
        _headline(result),
        f"queued {usage.queued_s:.3f} s",
        f"start {usage.lease_s + usage.start_s:.3f} s",
        f"run {usage.run_s:.3f} s",
        f"memory {size_text(usage.memory_peak_bytes)}",
    ]
    if result.truncated.stdout or result.truncated.stderr:
        told.append("result truncated")
    if result.isolation not in (None, "full"):
        told.append(f"isolation {result.isolation}")
    return ", ".join(told)


def _headline(result: Result) -> str:
    text = str(result.outcome)
    if result.error and result.error.name == "BuildFailed":
        text += f": {result.message}"
    elif result.outcome in _OF_PROGRAM and result.signal is not None:
        text += f" (signal {result.signal})"
    elif result.outcome in (Outcome.OK, Outcome.ERROR):
        text += f" (exit {result.exit_code})" if result.exit_code else ""
    elif result.limit:
        text += f" ({result.limit} limit)"
    if result.outcome not in _EXPLAINED:
        return text
    reason = result.message or (result.error.message if result.error else "")
    return f"{text}: {reason.rstrip('.')}" if reason else text
