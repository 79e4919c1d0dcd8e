"""What became of an attempt, and when is the next? Pure."""

from dataclasses import dataclass

WAITS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)
"""Between attempts, some 16 hours in all: within the day for which a job's record is kept by default."""
GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending.

    Attributes:
        status: That the receiver answered, if it did.
        error: Why it counts as not delivered; None = it was. Told to the tenant: it names no address of ours.
        retry_after_s: When the receiver wants to be asked again.
    """

    status: int | None = None
    error: str | None = None
    retry_after_s: float = 0.0


def wait_after(answer: Answer, attempt: int, *, is_test: bool = False) -> float | None:
    """Seconds until the next attempt; None = there is none.

    Args:
        attempt: The one that is over, from 1 on.
        is_test: Of nothing, so that nothing is lost if it does not arrive.
    """
    if answer.error is None or answer.status == GONE or is_test or attempt > len(WAITS_S):
        return None
    return max(WAITS_S[attempt - 1], min(answer.retry_after_s, WAITS_S[-1]))
