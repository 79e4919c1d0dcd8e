"""How are times, sizes and the words of strangers put for people? Pure functions; templates use them as filters."""

import re
from datetime import UTC, datetime

from leasebox.contract.result import JobStatus, Outcome, State

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
# C0 less tab and newline, DEL, C1; the marks and overrides that turn the direction of a line (Unicode TR 9); halves of
# surrogate pairs, which no encoding can write.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_DEL, _FIRST_C1 = 0x7F, 0x80
_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))
_MARKS = {
    State.QUEUED: "wait",
    State.STARTING: "live",
    State.RUNNING: "live",
    Outcome.OK: "good",
    Outcome.CANCELLED: "calm",
    Outcome.EXPIRED: "calm",
    "up": "good",
    "idle": "good",
    "busy": "live",
    "draining": "wait",
    "closing": "wait",
    "closed": "calm",
}


def visible(text: str) -> str:
    """The text without colours, and with every character that would not be seen, or would turn others round, named.

    `page.js` does the same to what comes live.
    """
    return _UNSEEN.sub(_named, _SGR.sub("", text).replace("\r\n", "\n"))


def _named(found: "re.Match[str]") -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == _DEL else f"\u2039U+{code:04X}\u203a"


def iso(at: float) -> str:
    """A time for machines."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp(at: float) -> str:
    """A time in full."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(at: float, now: float) -> str:
    """How far a time is from now."""
    gap = now - at
    if abs(gap) < 1:
        return "now"
    return f"{span(gap)} ago" if gap > 0 else f"in {span(-gap)}"


def span(seconds: float) -> str:
    """A length of time, as exact as one cares for one of its size."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for step, unit in _STEPS:
        if seconds >= 2 * step:
            return f"{seconds / step:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """A number of bytes."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def mark(word: str) -> str:
    """Which kind of badge a state or an outcome has; each says its word too, so that colour alone tells nothing."""
    return _MARKS.get(word, "bad")


def took(job: JobStatus, now: float) -> float | None:
    """How long a job has been running, or ran; None = it never started."""
    return None if job.started_at is None else max(0.0, (job.finished_at or now) - job.started_at)


FILTERS = {"iso": iso, "stamp": stamp, "ago": ago, "span": span, "size": size, "mark": mark}
