"""The Celery app of the worker and its one task; with `celery_pool` and `cli`, the only place that knows Celery."""

import os
import signal
import threading
from typing import Any
from urllib.parse import urlsplit

import structlog
from celery import Celery
from celery.exceptions import Ignore
from celery.signals import worker_ready, worker_shutting_down
from celery.worker.control import control_command

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.queues import TASK_NAME, consumed_by
from leasebox.contract.scripts import Runner, client
from leasebox_worker.celery_events import Publisher
from leasebox_worker.celery_pool import QueueOrder
from leasebox_worker.config import WorkerSettings
from leasebox_worker.engine import host
from leasebox_worker.engine.connection import ANSWER_WITHIN_S
from leasebox_worker.engine.intake import Gate, Slots
from leasebox_worker.engine.runner import run_job
from leasebox_worker.lifecycle import reads
from leasebox_worker.lifecycle.beat import Beat
from leasebox_worker.lifecycle.teller import Teller

log = structlog.get_logger()

HEALTH_S = 5
"""A BRPOP without an answer for so long (beyond its own second) waits on a dead connection, which is dropped."""
STALLED = 75
"""Exit status when the consumer cannot be revived (sysexits EX_TEMPFAIL): starting the process again helps."""
END_WITHIN_S = 20.0
LEAVE_WITHIN_S = 10.0
"""After a drain Celery gets so long to end its loop and threads: longer than one answer of Redis may take. A Redis that
hangs would cost each of them several."""

_hosts: list[host.Host] = []
"""The one host of this process, from its start on; Celery's hooks find it here."""
_tellers: list[Teller] = []


def broker_url(url: str) -> str:
    """The URL as kombu writes it (`redis+socket://` for unix sockets)."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}"
    return url


def make_app(settings: WorkerSettings, gate: Gate) -> Celery:
    """The app, with the settings of CELERY.md; it has no result backend: scripts alone write results."""
    app = Celery("leasebox", broker=broker_url(settings.url), backend=None)
    app.gate = gate  # for the pool and the consumer, which Celery makes
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # with threads only together with the wake pool
        broker_transport_options={
            "ack_emulation": False,
            "queue_order_strategy": QueueOrder(app),
            "priority_steps": [0],
            "socket_keepalive": True,
            "socket_timeout": ANSWER_WITHIN_S,
            "socket_connect_timeout": ANSWER_WITHIN_S,
            "health_check_interval": HEALTH_S,
        },
        worker_consumer="leasebox_worker.celery_pool:Consumer",
        broker_channel_error_retry=True,  # a refused command (no memory, read-only) is no reason to end the worker
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,  # they would tell of wake-ups; `Teller` tells of jobs (decision 17)
        task_send_sent_event=False,
        event_queue_ttl=5.0,
        event_queue_expires=60.0,
        worker_soft_shutdown_timeout=0,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,  # the log goes there, a line at a time
        worker_enable_remote_control=True,
        result_serializer="json",
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
    )
    app.task(name=TASK_NAME, ignore_result=True)(execute)
    return app


def execute(job_id: str) -> None:
    """Run the job that the wake-up names.

    Raises:
        Ignore: The wake-up had nothing to do; it shows nowhere.
    """
    if not run_job(job_id, _hosts[0].deps):
        raise Ignore


@control_command(args=[("task_id", str)], signature="[id1 [id2 [... [idN]]]]")  # type: ignore[untyped-decorator]
def revoke(_state: Any, task_id: Any, *_: Any, **__: Any) -> dict[str, str]:
    """Celery's and Flower's revoke, as a true cancel of the job."""
    running = _hosts[0]
    keys, redis = Keys(running.settings.prefix), running.client
    ids = task_id if isinstance(task_id, list) else [task_id]
    for job in ids:
        tenant = reads.field(redis, keys.job(job), "tenant")
        if tenant is not None:
            Runner(redis).run(client.cancel(keys, job=job, tenant=tenant))
    return {"ok": f"cancelled {', '.join(ids)}"}


@control_command(signature="")  # type: ignore[untyped-decorator]
def enable_events(_state: Any) -> dict[str, str]:
    """Tell of jobs from now on; Flower asks for it every five seconds."""
    _tellers[0].asked()
    return {"ok": "jobs are told of"}


@control_command(signature="")  # type: ignore[untyped-decorator]
def disable_events(_state: Any) -> dict[str, str]:
    """Tell of jobs no longer."""
    _tellers[0].ignored()
    return {"ok": "jobs are not told of"}


def _end(running: host.Host, status: int) -> None:
    """End the process from another thread than the main one, with the sandboxes if that can be done in time."""
    stopping = threading.Thread(target=running.stop, daemon=True)
    stopping.start()
    stopping.join(END_WITHIN_S)
    os._exit(status)  # the loop hangs: nothing that Celery would do on its way out can be waited for


def _leave_in_time(running: host.Host, is_consumed: threading.Event) -> None:
    """End the process when a drain is through and Celery does not end by itself."""
    running.drain.is_through.wait()
    if not is_consumed.wait(LEAVE_WITHIN_S):
        log.warning("celery_does_not_end", waited_s=LEAVE_WITHIN_S)
        _end(running, STALLED if running.is_name_lost else 0)  # started again it is told that the name is taken


class _EarlyStop:
    """SIGTERM before Celery's own handlers stand: noted while the host starts, obeyed once there is one to stop."""

    def __init__(self) -> None:
        self._is_asked = self._is_host_there = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._is_asked = True
        if self._is_host_there:
            raise SystemExit(0)

    def obey(self) -> None:
        """From here on a stop ends this thread, also one that came before.

        Raises:
            SystemExit: The process is to end.
        """
        self._is_host_there = True
        if self._is_asked:
            raise SystemExit(0)


def serve(settings: WorkerSettings, *, is_embedded: bool) -> None:
    """Start the host, then consume until SIGTERM; returns when nothing runs any more.

    Raises:
        ConfigError, BrokerUnavailable, DriverUnsafe: The worker cannot start; or another one took its name over.
    """
    early = _EarlyStop()
    running = host.start(settings, lambda: os.kill(os.getpid(), signal.SIGTERM), is_embedded=is_embedded)
    _hosts.append(running)
    intake = running.deps.intake
    gate = Gate(settings.node, Slots(settings.slots, settings.interactive_slots), intake)
    app = make_app(settings, gate)
    teller = _teller(running, app)
    is_consumed = threading.Event()
    threading.Thread(target=_leave_in_time, args=(running, is_consumed), name="leave", daemon=True).start()

    def _drain(**_: object) -> None:
        running.drain.signalled()

    def _watch(sender: Any, **_: object) -> None:
        intake.changed = sender.pool.wake
        running.watch(gate, restart=sender.restart, end=lambda: _end(running, STALLED))

    # Sent by each SIGTERM, from the signal's handler; `worker_shutdown` comes when the last job has ended.
    worker_shutting_down.connect(_drain, weak=False)
    worker_ready.connect(_watch, weak=False)
    try:
        early.obey()
        consume(app, settings)
    finally:
        is_consumed.set()
        running.stop()
        teller.close()
    if running.is_name_lost:
        raise ConfigError(
            f"another live worker took the name {settings.node!r}", hint="set LEASEBOX_NODE to a name of its own"
        )


def _teller(running: host.Host, app: Celery) -> Teller:
    settings, held = running.settings, running.deps.tracker.held
    teller = Teller(
        running.client,
        Keys(settings.prefix),
        settings.node,
        publish=Publisher(app, settings.node).publish,
        running=lambda: len(held()),
    )
    _tellers.append(teller)
    beat = Beat("tell", teller.tell, 0.0)
    running.beats.append(beat)
    beat.start()
    return teller


def consume(app: Celery, settings: WorkerSettings) -> None:
    """Take wake-ups and hand them to the slots' threads, until SIGTERM."""
    app.worker_main(
        [
            "--quiet",  # no banner: it is no line of the log
            "worker",
            "--pool=custom",
            f"--concurrency={settings.slots}",
            f"--queues={','.join(consumed_by(settings.node))}",
            f"--hostname={settings.node}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )
