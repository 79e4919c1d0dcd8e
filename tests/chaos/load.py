"""Who submits and cancels the jobs of a plan? One thread each, that try again for as long as Redis is away."""

import heapq
import threading
import time
from itertools import count

from tests.chaos.evidence import Reading
from tests.chaos.plan import Plan, PlannedJob

from leasebox.client import Client
from leasebox.contract.errors import BrokerUnavailable, LeaseboxError

RETRY_S = 0.2
READ_EVERY = 12
"""Each such job is followed live, by a thread of its own."""
READ_WITHIN_S = 600.0


class Load:
    """Submits each job at its moment, in order; every accepted one is in `jobs`, some are followed in `readings`."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client = client
        self._plan = plan
        self.jobs: dict[str, PlannedJob] = {}
        self.readings: dict[str, Reading] = {}
        self.repeats = 0
        self._cancels: list[tuple[float, int, str]] = []
        self._order = count()
        self._lock = threading.Lock()
        self._is_all_sent = threading.Event()

    def submit_all(self, began: float, stop: threading.Event) -> None:
        """Return when all are accepted; `began` is of the monotonic clock."""
        for job in self._plan.jobs:
            if stop.wait(max(0.0, began + job.at_s - time.monotonic())):
                break
            name = self._submit(job, stop)
            if name is None:
                break
            self.jobs[name] = job
            if job.index % READ_EVERY == 0:
                reading = self.readings[name] = Reading()
                threading.Thread(target=self._read, args=(name, reading), daemon=True).start()
            if job.cancel_after_s is not None:
                with self._lock:
                    heapq.heappush(self._cancels, (time.monotonic() + job.cancel_after_s, next(self._order), name))
        self._is_all_sent.set()

    def cancel_all(self, stop: threading.Event) -> None:
        """Return when all that are to be cancelled have been asked to end."""
        while not stop.is_set():
            with self._lock:
                due = self._cancels[0] if self._cancels else None
            if due is None:
                if self._is_all_sent.is_set():
                    return
                stop.wait(0.02)
            elif due[0] > time.monotonic():
                stop.wait(min(0.02, due[0] - time.monotonic()))
            elif self._cancel(due[2]):
                with self._lock:
                    self._cancels.remove(due)
                    heapq.heapify(self._cancels)

    def _submit(self, job: PlannedJob, stop: threading.Event) -> str | None:
        """Ask until there is an answer: the idempotency key makes a repeat harmless."""
        while not stop.is_set():
            try:
                handle = self._client.submit(**job.spec)
            except BrokerUnavailable:
                self.repeats += 1
                stop.wait(RETRY_S)
            else:
                return handle.id
        return None

    def _read(self, job: str, reading: Reading) -> None:
        """Follow a job to its end; where Redis was away for too long, go on after the last event seen."""
        deadline = time.monotonic() + READ_WITHIN_S
        while not reading.is_over:
            try:
                after = reading.ids[-1] if reading.ids else None
                for event in self._client.job(job).events(after, timeout_s=READ_WITHIN_S):
                    reading.ids.append(event.id)
                reading.is_over = True
            except LeaseboxError as exc:
                if not isinstance(exc, BrokerUnavailable) or time.monotonic() > deadline:
                    reading.error, reading.is_over = repr(exc), True

    def _cancel(self, job: str) -> bool:
        try:
            self._client.job(job).cancel()
        except BrokerUnavailable:
            return False
        return True
