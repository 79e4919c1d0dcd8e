"""Who tells Flower of all jobs, and when: one node of the installation, while somebody watches.

Flower asks every worker for events every five seconds. Each node that was asked listens to the bell, on which the
scripts ring with the id of every job that changed; one of them, the holder of the key `telling`, reads the records of
those jobs and publishes what is new (`shown`). The others keep the ids of the last seconds, so that the one that takes
over goes on where the last one stopped. Workers send no events of their own, so a job costs its worker nothing for it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

import redis

from leasebox.contract.keys import PRIORITIES, Keys
from leasebox_worker.lifecycle import reads
from leasebox_worker.lifecycle.shown import FIELDS, Event, Told, events_of

WATCH_S = 30.0
"""Events are told for so long after they were asked for; Flower asks every 5 s."""
HOLD_S = 10.0
"""Who has not renewed `telling` for so long may be gone."""
COLLECT_S = 0.2
"""So long jobs that change are collected, then told in one message: also how late Flower is."""
IDLE_S = 0.5
ALIVE_EVERY_S = 5.0
AT_ONCE = 200
LIVE_MOST = 10_000
"""Queued jobs of a class that are told when a node begins to; the others when they change."""
REMEMBERED = 50_000

Publish = Callable[[Sequence[Event]], None]


class Teller:
    """The duty of one node; `asked` comes from the thread of Celery's consumer."""

    def __init__(
        self, client: redis.Redis, keys: Keys, node: str, *, publish: Publish, running: Callable[[], int]
    ) -> None:
        self._client, self._keys, self._node = client, keys, node
        self._publish, self._running = publish, running
        self._watched_until = 0.0
        self._is_asked = threading.Event()
        self._bell: redis.client.PubSub | None = None
        self._rung: dict[str, float] = {}
        self._told: dict[str, Told] = {}
        self._is_holder = False
        self._alive_at = 0.0

    def asked(self) -> None:
        """Somebody watches now; from any thread."""
        self._watched_until = time.monotonic() + WATCH_S
        self._is_asked.set()

    def ignored(self) -> None:
        """Nobody wants to watch any more; from any thread."""
        self._watched_until = 0.0

    def tell(self) -> None:
        """One round of the duty: collect what changed, and tell it if this node is the one that tells.

        Raises:
            Exception: Whatever Redis or `publish` raise; the next round begins anew and tells what is missing.
        """
        if time.monotonic() >= self._watched_until:
            self._rest()
            self._is_asked.wait(IDLE_S)
            return
        self._is_asked.clear()
        try:
            self._round()
        except Exception:
            self._rest()
            raise

    def close(self) -> None:
        """Say that this worker goes, and let another node tell at once; call it when the duty has stopped."""
        was_watched = self._bell is not None
        with suppress(redis.RedisError, OSError):
            if was_watched:
                self._publish([Event("worker-offline", self._node, time.time())])
            if self._is_holder:
                self._client.delete(self._keys.telling())
        self._rest()

    def _round(self) -> None:
        if self._bell is None:
            self._bell = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            self._bell.subscribe(self._keys.bell())
            self._is_holder = False  # what was missed since the last round is found among the live jobs
        now = time.monotonic()
        if now - self._alive_at >= ALIVE_EVERY_S:
            self._alive_at = now
            alive: dict[str, str | float] = {
                "active": self._running(),
                "freq": 2 * ALIVE_EVERY_S,
                "sw_ident": "leasebox",
            }
            self._publish([Event("worker-heartbeat", self._node, time.time(), alive)])
        was_holder, self._is_holder = self._is_holder, self._hold()
        if self._is_holder and not was_holder:
            self._rung = {
                **dict.fromkeys(self._live(), now),
                **dict.fromkeys(self._told_unfinished(), now),
                **self._rung,
            }
        self._listen(now + COLLECT_S)
        if self._is_holder:
            while self._rung:
                some = list(islice(self._rung, AT_ONCE))
                self._tell(some)
                for job in some:
                    del self._rung[job]
        else:
            self._rung = {job: at for job, at in self._rung.items() if at > now - 2 * HOLD_S}

    def _hold(self) -> bool:
        """Whether this node is the one that tells. Two for a moment do no harm: the same is told twice."""
        key, hold_ms = self._keys.telling(), int(HOLD_S * 1000)
        if self._client.set(key, self._node, nx=True, px=hold_ms):
            return True
        if self._client.get(key) != self._node.encode():
            return False
        return bool(self._client.pexpire(key, hold_ms))

    def _listen(self, until: float) -> None:
        assert self._bell is not None
        while (left_s := until - time.monotonic()) > 0:
            message = self._bell.get_message(timeout=left_s)
            if message is not None:
                self._rung[message["data"].decode()] = time.monotonic()

    def _live(self) -> list[str]:
        """Jobs that have not ended, as far as they are told at once."""
        keys = self._keys
        claimed = [job for node in reads.members(self._client, keys.nodes()) for job in self._claims(node)]
        queued = [reads.some_members(self._client, keys.queued(keys.queue(of)), LIVE_MOST) for of in PRIORITIES]
        return claimed + [job for jobs in queued for job in jobs]

    def _claims(self, node: str) -> list[str]:
        return reads.members(self._client, self._keys.claims(node))

    def _told_unfinished(self) -> list[str]:
        return [job for job, told in self._told.items() if told.state != "finished"]

    def _tell(self, jobs: Sequence[str]) -> None:
        found = reads.fields_of_each(self._client, [self._keys.job(job) for job in jobs], FIELDS)
        news: list[Event] = []
        told: dict[str, Told] = {}
        seen_at = time.time()
        for job, record in zip(jobs, found, strict=True):
            events, now = events_of(job, record, self._told.get(job), seen_at)
            news += events
            if now.state:
                told[job] = now
        if news:
            self._publish(news)
        for job, now in told.items():  # only now: what could not be published is tried again
            self._told.pop(job, None)  # the newest stand last
            self._told[job] = now
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]

    def _rest(self) -> None:
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        self._is_holder = False
