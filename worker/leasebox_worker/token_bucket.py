"""How fast may something go on average? A token bucket: network of jobs, output beside others."""


class TokenBucket:
    """An average rate with bursts; tells the taker how long to wait instead of waiting itself."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Full at first.

        Args:
            rate: Tokens a second.
            burst: The most that it holds.
            now: Any clock in seconds, the same in every call.
        """
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take tokens, also those that are not there yet; seconds to wait before going on."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._level / self._rate)
