"""How are Celery's consumer, queues and threads made to obey: who wakes the loop, what is asked, who restarts it?

Three classes that Celery and kombu make by themselves, so they meet in the app: `app.gate` says which queues are open,
`app.consumer` is the consumer.

- `TaskPool`: with plain threads and `worker_disable_prefetch`, the consumer pauses while all slots are taken, and
  nothing tells it that a thread has become free: it sleeps up to a second and the worker stalls at 4-5 jobs/s
  (measured, CELERY.md section 3). One byte through a pipe mends it.
- `OpenQueues`: kombu asks its queue order for the lists of each BRPOP; ours names only those that are open. Nothing is
  cancelled or declared anew, and a message that comes all the same still finds its consumer.
- `Consumer`: a BRPOP that waits for the wrong queues is ended by CLIENT UNBLOCK, which loses no message. What Redis
  refuses is tried again after a pause: Celery tries at once, 30 connections a second.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
import structlog
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.utils.scheduling import round_robin_cycle
from redis.backoff import ExponentialBackoff

log = structlog.get_logger()

RECONNECT_MOST_S = 1.0
"""Between two tries to reach Redis again. Celery's own steps grow to 30 s, in which nothing would be taken."""
RETRY_UNBLOCK_S = 0.005
REFUSED_MOST_S = 5.0
"""Between two tries of what Redis refuses: a right that is missing stays so until a person looks."""
_REFUSED_PAUSE = ExponentialBackoff(cap=REFUSED_MOST_S, base=0.05)


class Refusals:
    """How long to wait after each command that Redis refused: ever longer, and shortly again after a good time."""

    def __init__(self) -> None:
        self._count, self._until = 0, 0.0

    def pause_s(self, now: float) -> float:
        """Seconds to wait after a refusal at this time (of a monotonic clock)."""
        # Behind the longest pause another one follows at once, unless a command went well in between.
        self._count = self._count + 1 if now < self._until else 1
        self._until = now + 2 * REFUSED_MOST_S
        return float(_REFUSED_PAUSE.compute(self._count))


class TaskPool(ThreadPool):  # type: ignore[misc]
    """Celery's thread pool, whose finished threads wake the hub."""

    _pipe: tuple[int, int] | None = None

    def on_apply(self, target: Any, args: Any = None, *rest: Any, **kwargs: Any) -> Any:
        """Run a task in a thread, and count the slot that it takes; Celery's own, and its answer."""
        give_back = self.app.gate.take(args[2]["delivery_info"]["routing_key"])
        applied = super().on_apply(target, args, *rest, **kwargs)
        applied.f.add_done_callback(lambda _: self._finished(give_back))
        return applied

    def _finished(self, give_back: Callable[[], None]) -> None:
        give_back()
        self.wake()

    def wake(self) -> None:
        """Let the hub look again; from any thread."""
        if self._pipe is None:
            return
        try:
            os.write(self._pipe[1], b"x")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def register_with_event_loop(self, hub: Any) -> None:
        """Have the hub look again whenever `wake` is called; Celery calls this once, and after each reconnect."""
        if self._pipe is None:
            self._pipe = os.pipe()
            for fd in self._pipe:
                os.set_blocking(fd, False)
        hub.add_reader(self._pipe[0], self._woken)

    def _woken(self) -> None:
        assert self._pipe is not None
        try:
            os.read(self._pipe[0], 4096)
        except BlockingIOError:
            return
        self.app.consumer.obey()


class OpenQueues(round_robin_cycle):
    """Round robin over the queues that are open now.

    Attributes:
        asked: The queues of the last BRPOP.
        is_interrupted: Whether it was ended already.
        client_id: Redis' name for the connection of the last BRPOP.
    """

    def __init__(self, app: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._app = app
        self._named: object = None
        self.asked: frozenset[str] = frozenset()
        self.is_interrupted = False
        self.client_id = 0

    def consume(self, n: int) -> list[str]:  # noqa: ARG002
        """What the BRPOP that is about to be sent asks for; none: it is not sent."""
        self.asked, self.is_interrupted = self._app.gate.open_queues(), False
        queues = [queue for queue in self.items if queue in self.asked]
        if queues:
            self._name_connection()
        return queues

    def _name_connection(self) -> None:
        connection = self._app.consumer.task_consumer.channel.client.connection
        if connection._sock is not self._named:  # a connection is kept over a reconnect, its socket is not
            connection.send_command("CLIENT", "ID")
            self.client_id = int(connection.read_response())
            self._named = connection._sock


class QueueOrder:
    """Makes kombu's queue order of an app; a function would keep Celery from answering what its settings are."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self) -> OpenQueues:
        """A new one, for a new connection."""
        return OpenQueues(self._app)

    def __json__(self) -> str:
        """How it stands in the answers of `celery inspect stats` and `conf`, which Flower asks for."""
        return OpenQueues.__name__


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer, which takes only from open queues and can be started again from outside."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_restart_asked = False
        self._refusals = Refusals()
        super().__init__(*args, **kwargs)
        self.app.consumer = self

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes; soon after Redis is back we are, too."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.1, interval_step=0.1, interval_max=RECONNECT_MOST_S
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Celery's own; and wait where Redis is there but refused a command: it would do so again at once."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, redis.ResponseError):
            pause_s = self._refusals.pause_s(time.monotonic())
            log.warning("consumer_refused", reason=str(exc), pause_s=pause_s)
            time.sleep(pause_s)

    def restart(self) -> None:
        """Drop the connection and begin anew, in the loop's own thread; jobs run on. From any thread."""
        self._is_restart_asked = True
        self.pool.wake()

    def obey(self) -> None:
        """Carry out what other threads have changed; called in the loop's own thread.

        Raises:
            redis.ConnectionError: A restart was asked for; Celery's loop takes it as a lost connection.
        """
        if self._is_restart_asked:
            self._is_restart_asked = False
            raise redis.ConnectionError("the consumer is started again")
        channel = getattr(self.task_consumer, "channel", None)
        if channel is None or not channel._in_poll:
            return  # between two BRPOPs: the next one asks the gate
        queues = channel._queue_cycle
        if not queues.is_interrupted and queues.asked != self.app.gate.open_queues():
            with channel.conn_or_acquire() as client:
                queues.is_interrupted = bool(client.client_unblock(queues.client_id))
            if not queues.is_interrupted:  # its answer is under way, or the server has not read it yet
                self.timer.call_after(RETRY_UNBLOCK_S, self.obey)
