"""One worker process put together: what it is made of, which duties run beside the jobs, how it stops."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
import structlog
from prometheus_client import REGISTRY

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, metrics
from leasebox_worker.config import OnExit, WorkerSettings, given_secrets
from leasebox_worker.drivers.base import Isolation
from leasebox_worker.egress.proxy import Egress
from leasebox_worker.engine.adopt import Pooled, take_over
from leasebox_worker.engine.connection import ANSWER_WITHIN_S, answering, client_of
from leasebox_worker.engine.control import Control, cancel, disown
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.drain import Drain
from leasebox_worker.engine.gauges import Gauges
from leasebox_worker.engine.ground import Ground, check, facts_of
from leasebox_worker.engine.holder import WATCH_S, Holder
from leasebox_worker.engine.intake import Gate, Pause
from leasebox_worker.engine.measure import Measurer
from leasebox_worker.engine.outbox import outbox
from leasebox_worker.engine.publication import publish
from leasebox_worker.engine.refill import Refill, Refilling
from leasebox_worker.engine.sandboxes import Placement, Sandboxes
from leasebox_worker.engine.service import Service
from leasebox_worker.engine.upkeep import upkeep
from leasebox_worker.engine.watchdog import Watchdog
from leasebox_worker.lifecycle import owners
from leasebox_worker.lifecycle.beat import Beat, stop_all
from leasebox_worker.lifecycle.fence import Fence
from leasebox_worker.lifecycle.inputs import Inputs
from leasebox_worker.lifecycle.name import wait_until_free
from leasebox_worker.lifecycle.node import Node, Orders
from leasebox_worker.lifecycle.patience import PatientRunner
from leasebox_worker.lifecycle.pool import Pools
from leasebox_worker.lifecycle.reaper import Graces, Reaper
from leasebox_worker.lifecycle.reconcile import Place
from leasebox_worker.lifecycle.sweeper import Sweeper
from leasebox_worker.lifecycle.tracker import LeaseTracker
from leasebox_worker.policy.secrets import SecretStore
from leasebox_worker.telemetry.audit import FLUSH_S, AuditLog
from leasebox_worker.telemetry.metrics import End

log = structlog.get_logger()

READY_WITHIN_S = 30.0


@dataclass(slots=True)
class Host:
    """A running worker process, less Celery.

    Attributes:
        is_name_lost: Another live process has this node's name: starting again cannot help.
    """

    settings: WorkerSettings
    client: redis.Redis
    deps: Deps
    beats: list[Beat]
    lock_fd: int
    keeps_sandboxes: bool
    node: Node
    drain: Drain
    is_name_lost: bool = False
    _stopping: threading.Lock = field(default_factory=threading.Lock)
    _is_stopped: bool = False

    def watch(self, gate: Gate, *, restart: Callable[[], None], end: Callable[[], None]) -> None:
        """Let nobody stop the consumer in silence: see `Watchdog`."""
        stall_s = self.settings.timers.stall_s
        watchdog = Watchdog(self.client, gate, stall_s=stall_s, restart=restart, end=end)
        beat = Beat("watchdog", watchdog.look, stall_s / 5)
        self.beats.append(beat)
        beat.start()

    def stop(self) -> None:
        """End the duties, and the sandboxes that do not wait for the next start; call it when no job runs any more.

        A second caller waits for the first.
        """
        with self._stopping:
            if not self._is_stopped:
                self._is_stopped = True
                self._stop()

    def _stop(self) -> None:
        self.deps.is_draining = True
        self.deps.intake.pause(Pause.DRAINING)
        is_heard = not self.deps.fence.is_shut  # asked now: without the heartbeats' duty it soon shuts by itself
        stop_all(self.beats)
        if self.deps.refill is not None:
            self.deps.refill.stop()
        if self.keeps_sandboxes:
            self.deps.sandboxes.leave_all()
        else:
            self.deps.sandboxes.end_all()
        if self.deps.egress:
            self.deps.egress.close()
        self.deps.sandboxes.driver.close()
        if is_heard:
            self._tell()
        if self.deps.audit is not None:
            self.deps.audit.end(is_heard=is_heard)
        os.close(self.lock_fd)

    def _tell(self) -> None:
        try:
            if self.keeps_sandboxes:
                self.node.rest()
            else:
                self.node.leave()
        except redis.RedisError as exc:
            log.warning("leave_not_told", reason=str(exc))


def start(settings: WorkerSettings, stop: Callable[[], None], *, is_embedded: bool) -> Host:
    """Check, register, and begin the duties.

    Args:
        is_embedded: Of a private stack of one user: `auto` takes bubblewrap before Docker.
        stop: Begins to end this process, as SIGTERM does.

    Raises:
        ConfigError, BrokerUnavailable, DriverUnsafe, EngineDown: The worker cannot start; nothing was left behind.
    """
    with answering():
        return _start(settings, stop, is_embedded=is_embedded)


def _start(settings: WorkerSettings, stop: Callable[[], None], *, is_embedded: bool) -> Host:
    ground = check(settings, is_embedded=is_embedded)
    timers, keys, client = settings.timers, ground.keys, client_of(settings.url)
    runner = Runner(client)
    patient = PatientRunner(client, within_s=timers.held_max_s + timers.fence_s)
    deps = _deps(ground, runner, LeaseTracker(patient, keys, ground.identity, start_timeout_s=timers.start_timeout_s))
    # The fence counts from the last answered heartbeat: one that hangs must be given up and sent again in time.
    pulse = client_of(settings.url, timeout_s=min(ANSWER_WITHIN_S, timers.heartbeat_s, timers.fence_s / 4))
    deps.inputs = Inputs(client, runner, keys)
    facts = facts_of(ground)
    pooled = _join(ground, deps, Node(ground.runner, keys, deps.tracker, facts))
    node = Node(Runner(pulse), keys, deps.tracker, facts)
    sweeper = Sweeper(client, runner, keys, tombstone_ttl_s=timers.tombstone_ttl_s)
    pools = Pools(client, runner, keys, ground.identity)
    deps.refill = _refill(settings, deps, pools, sweeper)
    for warm in pooled:
        deps.refill.take_over(warm.sandbox, warm.profile)
    if not is_embedded:
        deps.refill.ask()
    deps.fence.answered(time.monotonic())
    drain = Drain(deps, timeout_s=settings.drain_timeout_s, close=patient.close)
    keeps = ground.driver.outlives_worker and settings.on_exit is OnExit.KEEP and not is_embedded
    host = Host(settings, client, deps, [], ground.lock_fd, keeps, node, drain)
    place = Place(ground.installation, ground.identity.node)
    host.beats += _duties(host, runner, keys, stop) + _standing(host, pulse, keys, pools, stop)
    host.beats += outbox(client, keys, settings)
    host.beats += upkeep(client, runner, keys, place, deps, period_s=settings.sweep_period_s)
    host.beats += [
        Beat("sweep", lambda: sweeper.sweep(settings.node, _ending(deps)), settings.sweep_period_s),
        Beat("refill", deps.refill.watch, 0.0),
    ]
    if settings.metrics_port is not None:
        REGISTRY.register(Gauges(deps, bound=settings.sandbox_bound, home=settings.home))
    if deps.audit is not None:
        host.beats.append(Beat("audit", deps.audit.flush, FLUSH_S))
    for beat in host.beats:
        beat.start()
    log.info("node_registered", node=place.node, incarnation=ground.identity.incarnation, driver=ground.driver.name)
    return host


def _deps(ground: Ground, runner: Runner, tracker: LeaseTracker) -> Deps:
    settings, timers, name = ground.settings, ground.settings.timers, ground.identity.node
    audit = AuditLog(runner, ground.keys, settings.signer, name)
    for protection in ground.waived:
        audit.note("protection.waive", protection, "ok", driver=ground.driver.name)
    egress = None if ground.driver.isolation is Isolation.WEAK else Egress(settings.home / "egress" / name, audit=audit)
    placement = Placement(
        incarnation=ground.identity.incarnation,
        agent_dir=ground.agent_dir,
        dead_man_s=timers.dead_man_s,
        agent_exit_s=timers.agent_exit_s,
        ready_within_s=READY_WITHIN_S,
        egress=egress,
    )
    return Deps(
        tracker=tracker,
        sandboxes=Sandboxes(ground.driver, placement, bound=settings.sandbox_bound),
        profiles=ground.profiles,
        cancel_grace_s=timers.cancel_grace_s,
        fence=Fence(timers.fence_s),
        secrets=SecretStore(settings.secrets_dir, given_secrets()),
        egress=placement.egress,
        toolboxes=ground.toolboxes,
        audit=audit,
    )


def _join(ground: Ground, deps: Deps, node: Node) -> list[Pooled]:
    """Register, and take over what the process before left; answers its sandboxes that no job has used."""
    settings, client, keys, reclaim_s = ground.settings, ground.client, ground.keys, ground.settings.timers.reclaim_s
    name, wait_s = ground.identity.node, reclaim_s + 1
    wait_until_free(client, keys, name, machine_id=node.machine_id, reclaim_s=reclaim_s, wait_s=wait_s)
    pooled = take_over(
        deps.sandboxes,
        owners.read(client, keys, name),
        lambda found: node.adopt(found, has_proof=True, reclaim_s=reclaim_s, wait_s=wait_s),
    )
    if deps.egress:  # before anything makes a sandbox
        deps.egress.sweep(found.handle.name for found in ground.driver.list())
    try:
        profiles, quotas, found = ground.profiles, ground.quotas, ground.toolboxes
        publish(ground.runner, keys, ground.identity, profiles, quotas=quotas, reclaim_s=reclaim_s, toolboxes=found)
    except ConfigError:
        deps.sandboxes.end_all()
        node.leave()
        raise
    client.hset(keys.settings(), mapping=settings.published)  # type: ignore[arg-type]
    return pooled


def _standing(host: Host, pulse: redis.Redis, keys: Keys, pools: Pools, stop: Callable[[], None]) -> list[Beat]:
    """What keeps this node in service, and its agents alive."""
    deps, timers = host.deps, host.settings.timers

    def _lose_name() -> None:
        host.is_name_lost = True
        stop()

    orders = Orders(cancel=lambda job: cancel(job, deps), disown=lambda job, lease: disown(job, lease, deps))
    holder = Holder(deps, held_max_s=timers.held_max_s)
    service = Service(pulse, keys, host.node, deps, holder, orders, timers.reclaim_s, _lose_name, pools.renew)
    return [
        Beat("heartbeat", service.beat, timers.heartbeat_s),
        Beat("fence", holder.watch, WATCH_S),
        Beat("ping", deps.sandboxes.ping_all, timers.ping_s),
    ]


def _duties(host: Host, runner: Runner, keys: Keys, stop: Callable[[], None]) -> list[Beat]:
    client, deps, settings, timers = host.client, host.deps, host.settings, host.settings.timers

    def _leave(is_destroying: bool) -> None:
        if is_destroying:
            host.keeps_sandboxes = False
        stop()

    graces = Graces(
        look_s=min(1.0, timers.heartbeat_s),
        reclaim_s=timers.reclaim_s,
        adopt_grace_s=timers.adopt_grace_s,
        drained_grace_s=timers.drained_grace_s,
        resend_grace_s=timers.resend_grace_s,
    )
    reaper = Reaper(client, runner, keys, graces)
    measurer = Measurer(
        deps.sandboxes,
        lambda line, sandbox, found: runner.run(metrics.measured(keys, line=line, sandbox=sandbox, json=found)),
    )
    control = Control(client, keys, settings.node, deps, _leave, measurer.ask)

    return [
        Beat("control", control.read, 0.0),
        Beat("expire", reaper.expire, 1.0),
        Beat("reclaim", reaper.reclaim, graces.look_s),
        Beat("overdue", reaper.overdue, timers.resend_s),
        Beat("resend", reaper.resend, timers.resend_s),
        Beat("seal", reaper.seal, settings.sweep_period_s),
    ]


def _ending(deps: Deps) -> Callable[[str, str], None]:
    """How a sandbox of a session ends, for a reason."""
    return lambda text, reason: deps.sandboxes.end(text, End(reason))


def _refill(settings: WorkerSettings, deps: Deps, pools: Pools, sweeper: Sweeper) -> Refill:
    cores = os.cpu_count() or 1
    evict_s = settings.evict_idle_after_s
    how = Refilling(
        makers=max(1, cores // 2),  # the other half is for jobs
        node_cpus=float(cores),
        evicts=lambda: evict_s is not None and sweeper.evict(settings.node, _ending(deps), idle_after_s=evict_s),
    )
    return Refill(pools, deps.sandboxes, deps.profiles, deps.intake, how)
