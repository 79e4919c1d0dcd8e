"""How fast may one sandbox talk beside others? As fast as it can for a while, then so that they have their time.

What a job writes costs the worker and Redis thirty times the processor time that it costs the job, and no limit of its
sandbox counts that. Nobody is hurt by it while nothing else runs on the node, so the pace is kept only beside others.
The agent stops reading a job whose output is not taken, so a slow reader slows the job.
"""

import threading
import time

from leasebox_worker.token_bucket import TokenBucket

BURST_BYTES = 8 << 20
BYTES_PER_S = 16 << 20
"""Two processors have an honest session of one, a flood of a half, and what worker and Redis need for 16 MiB/s."""


class Pace:
    """The output of one sandbox's jobs, which run one after another."""

    def __init__(self, *, burst_bytes: int = BURST_BYTES, bytes_per_s: int = BYTES_PER_S) -> None:
        """Lets `burst_bytes` through at once, and again after a silence."""
        self._bucket = TokenBucket(bytes_per_s, burst_bytes, time.monotonic())

    def keep(self, size_bytes: int) -> None:
        """Note what was read; returns when more may be, after some milliseconds for what one read brings."""
        wait_s = self._bucket.take(size_bytes, time.monotonic())
        if wait_s:
            threading.Event().wait(wait_s)
