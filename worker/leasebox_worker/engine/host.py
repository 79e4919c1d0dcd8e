"""One worker process put together: what it is made of, which duties run beside the jobs, how it stops."""

import fcntl
import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from leasebox.contract.errors import BrokerUnavailable, ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox_guest.install import install
from leasebox_worker.config import DriverName, OnExit, WorkerSettings
from leasebox_worker.drivers.base import Driver, DriverSettings, Isolation, require
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS
from leasebox_worker.drivers.choose import choose
from leasebox_worker.egress.proxy import Egress
from leasebox_worker.engine.adopt import take_over
from leasebox_worker.engine.control import Control, cancel, disown
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.drain import Drain
from leasebox_worker.engine.holder import WATCH_S, Holder
from leasebox_worker.engine.intake import Gate, Pause
from leasebox_worker.engine.publication import publish
from leasebox_worker.engine.refill import Refill, Refilling
from leasebox_worker.engine.sandboxes import Placement, Sandboxes
from leasebox_worker.engine.service import Service
from leasebox_worker.engine.upkeep import upkeep
from leasebox_worker.engine.watchdog import Watchdog
from leasebox_worker.lifecycle import owners
from leasebox_worker.lifecycle.beat import Beat
from leasebox_worker.lifecycle.fence import Fence
from leasebox_worker.lifecycle.name import wait_until_free
from leasebox_worker.lifecycle.node import Facts, Node, Orders
from leasebox_worker.lifecycle.patience import PatientRunner
from leasebox_worker.lifecycle.pool import Pools
from leasebox_worker.lifecycle.reaper import Graces, Reaper
from leasebox_worker.lifecycle.reconcile import Place
from leasebox_worker.lifecycle.sweeper import Sweeper
from leasebox_worker.lifecycle.tracker import Identity, LeaseTracker
from leasebox_worker.policy import profiles as policy
from leasebox_worker.policy.secrets import SecretStore
from leasebox_worker.telemetry import metrics
from leasebox_worker.telemetry.metrics import End

log = structlog.get_logger()

READY_WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0
"""Longer than the longest block (1 s) and than any of our scripts."""
MIN_REDIS = (7, 0)


def connect(url: str, *, timeout_s: float = ANSWER_WITHIN_S) -> redis.Redis:
    """A client that reconnects at once when its connection was cut, and then tells: who may wait, waits by itself.

    Args:
        timeout_s: Without an answer for so long a connection is given up, so that no thread hangs on a dead peer.

    Raises:
        ConfigError: The URL is none of redis, rediss, redis+socket.
        BrokerUnavailable: Nobody answers there, or not with this password.
    """
    url = url.replace("redis+socket://", "unix://").replace("?virtual_host=", "?db=")
    is_tcp = not url.startswith("unix:")
    try:
        client = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[redis.ConnectionError],
            health_check_interval=25,
            socket_timeout=timeout_s,
            **({"socket_connect_timeout": timeout_s, "socket_keepalive": True} if is_tcp else {}),
        )
        version = client.info("server")["redis_version"]
    except redis.AuthenticationError as exc:
        raise ConfigError("Redis refused the password", hint="check LEASEBOX_URL") from exc
    except redis.RedisError as exc:
        raise BrokerUnavailable(f"no Redis answers: {exc}", hint="start it, or set LEASEBOX_URL") from exc
    except ValueError as exc:
        raise ConfigError(f"LEASEBOX_URL: {exc}", hint="write redis://HOST:PORT/0") from exc
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_REDIS:
        raise ConfigError(f"Redis {version} is too old", hint="Redis or Valkey 7.0 or later is needed")
    return client


def installation_of(client: redis.Redis, keys: Keys) -> str:
    """The id of the installation that this Redis holds; made by whoever asks first."""
    client.set(keys.installation(), uuid.uuid4().hex[:12], nx=True)
    value = client.get(keys.installation())
    assert isinstance(value, bytes)
    return value.decode()


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

    def watch(self, gate: Gate, *, restart: Callable[[], None], end: Callable[[], None]) -> None:
        """Let nobody stop the consumer in silence: see `Watchdog`."""
        stall_s = self.settings.timers.stall_s
        watchdog = Watchdog(self.client, gate, stall_s=stall_s, restart=restart, end=end)
        beat = Beat("watchdog", watchdog.look, stall_s / 5)
        self.beats.append(beat)
        beat.start()

    def stop(self) -> None:
        """End the duties, and the sandboxes that do not wait for the next start; call it when no job runs any more."""
        self.deps.is_draining = True
        self.deps.intake.pause(Pause.DRAINING)
        for beat in self.beats:
            beat.stop()
        if self.deps.refill is not None:
            self.deps.refill.stop()
        if self.keeps_sandboxes:
            self.deps.sandboxes.leave_all()
        else:
            self.deps.sandboxes.end_all()
        if self.deps.egress:
            self.deps.egress.close()
        self.deps.sandboxes.driver.close()
        try:
            if self.keeps_sandboxes:
                self.node.rest()
            else:
                self.node.leave()
        except redis.RedisError as exc:
            log.warning("leave_not_told", reason=str(exc))
        os.close(self.lock_fd)


def start(settings: WorkerSettings, stop: Callable[[], None], *, is_embedded: bool) -> Host:
    """Check, register, and begin the duties.

    Args:
        is_embedded: Of a private stack of one user: `auto` takes bubblewrap before Docker.
        stop: Begins to end this process, as SIGTERM does.

    Raises:
        ConfigError, BrokerUnavailable, DriverUnsafe, EngineDown: The worker cannot start; nothing was left behind.
    """
    profiles = policy.load(settings.profiles_file)
    client = connect(settings.url)
    keys, runner = Keys(settings.prefix), Runner(client)
    reclaim_s = settings.timers.reclaim_s
    identity = Identity(settings.node, uuid.uuid4().hex[:12])
    publish(runner, keys, identity, profiles, reclaim_s=reclaim_s)
    lock_fd = _lock_state_folder(settings)
    agent_dir = install(settings.home / "agent", platform.python_version())
    installation = installation_of(client, keys)
    driver = _checked_driver(settings, installation, agent_dir, is_embedded=is_embedded)
    timers = settings.timers
    patient = PatientRunner(client, within_s=timers.held_max_s + timers.fence_s)
    tracker = LeaseTracker(patient, keys, identity, start_timeout_s=settings.timers.start_timeout_s)
    placement = Placement(
        installation=installation,
        node=identity.node,
        incarnation=identity.incarnation,
        agent_dir=agent_dir,
        dead_man_s=settings.timers.dead_man_s,
        agent_exit_s=settings.timers.agent_exit_s,
        ready_within_s=READY_WITHIN_S,
        egress=None if driver.isolation is Isolation.WEAK else Egress(settings.home / "egress" / identity.node),
    )
    deps = Deps(
        tracker=tracker,
        sandboxes=Sandboxes(driver, placement, bound=settings.sandbox_bound),
        profiles=profiles,
        cancel_grace_s=settings.timers.cancel_grace_s,
        fence=Fence(settings.timers.fence_s),
        secrets=SecretStore(settings.secrets_dir),
        egress=placement.egress,
    )
    if settings.metrics_port is not None:
        metrics.serve(settings.metrics_port)
    facts = _facts(driver, settings, lock_fd)
    # The fence counts from the last answered heartbeat: one that hangs must be given up and sent again in time.
    pulse = connect(settings.url, timeout_s=min(ANSWER_WITHIN_S, timers.heartbeat_s, timers.fence_s / 4))
    node = Node(Runner(pulse), keys, tracker, facts)
    wait_until_free(client, keys, identity.node, machine_id=facts.machine_id, reclaim_s=reclaim_s, wait_s=reclaim_s + 1)
    pooled = take_over(
        deps.sandboxes,
        owners.read(client, keys, identity.node),
        lambda found: node.adopt(found, has_proof=True, reclaim_s=reclaim_s, wait_s=reclaim_s + 1),
    )
    if placement.egress:  # before anything makes a sandbox
        placement.egress.sweep(found.handle.name for found in driver.list())
    try:
        publish(runner, keys, identity, profiles, reclaim_s=reclaim_s)
    except ConfigError:
        deps.sandboxes.end_all()
        node.leave()
        raise
    client.hset(keys.settings(), mapping=settings.published)  # type: ignore[arg-type]
    sweeper = Sweeper(client, runner, keys, tombstone_ttl_s=settings.timers.tombstone_ttl_s)
    pools = Pools(client, runner, keys, identity)
    deps.refill = _refill(settings, deps, pools, sweeper)
    for warm in pooled:
        deps.refill.take_over(warm.sandbox, warm.profile)
    if not is_embedded:
        deps.refill.ask()
    deps.fence.answered(time.monotonic())
    drain = Drain(deps, timeout_s=settings.drain_timeout_s, close=patient.close)
    keeps = driver.outlives_worker and settings.on_exit is OnExit.KEEP and not is_embedded
    host = Host(settings, client, deps, [], lock_fd, keeps, node, drain)
    host.beats += _duties(host, runner, keys, stop) + _standing(host, pulse, keys, pools, stop)
    place = Place(installation, identity.node)
    host.beats += upkeep(client, runner, keys, place, deps, period_s=settings.sweep_period_s)
    host.beats += [
        Beat("sweep", lambda: sweeper.sweep(settings.node, _ending(deps)), settings.sweep_period_s),
        Beat("refill", deps.refill.watch, 0.0),
    ]
    for beat in host.beats:
        beat.start()
    log.info("node_registered", node=identity.node, incarnation=identity.incarnation, driver=driver.name)
    return host


def _standing(host: Host, pulse: redis.Redis, keys: Keys, pools: Pools, stop: Callable[[], None]) -> list[Beat]:
    """What keeps this node in service, and its agents alive."""
    deps, timers = host.deps, host.settings.timers

    def lose_name() -> None:
        host.is_name_lost = True
        stop()

    orders = Orders(cancel=lambda job: cancel(job, deps), disown=lambda job, lease: disown(job, lease, deps))
    holder = Holder(deps, held_max_s=timers.held_max_s)
    service = Service(pulse, keys, host.node, deps, holder, orders, timers.reclaim_s, lose_name, pools.renew)
    return [
        Beat("heartbeat", service.beat, timers.heartbeat_s),
        Beat("fence", holder.watch, WATCH_S),
        Beat("ping", deps.sandboxes.ping_all, timers.ping_s),
    ]


def _duties(host: Host, runner: Runner, keys: Keys, stop: Callable[[], None]) -> list[Beat]:
    client, deps, settings, timers = host.client, host.deps, host.settings, host.settings.timers

    def leave(is_destroying: bool) -> None:
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
    control = Control(client, keys, settings.node, deps, leave)

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


def driver_settings(settings: WorkerSettings, installation: str) -> DriverSettings:
    """What a driver must be told of this worker."""
    return DriverSettings(
        installation=installation,
        node=settings.node,
        state_dir=settings.home / "sandboxes",
        docker_host=settings.docker_host,
        runtime=settings.runtime,
        accept_missing=settings.accept_missing,
    )


def _checked_driver(settings: WorkerSettings, installation: str, agent_dir: Path, *, is_embedded: bool) -> Driver:
    """The driver, after it has shown that its protections are in effect."""
    prefer = DriverName.BUBBLEWRAP if is_embedded else DriverName.DOCKER
    asked = driver_settings(settings, installation)
    if is_embedded:  # a private stack of one user may do without what rootless bubblewrap lacks
        asked = replace(asked, accept_missing=asked.accept_missing | ROOTLESS_LACKS)
    driver = choose(settings.driver, asked, prefer=prefer)
    driver.ping()  # an engine that is not up yet is no unsafe one: starting again can help
    for check in require([*driver.check(), *driver.verify(agent_dir)], asked.accept_missing):
        log.warning("protection_missing", name=check.name, detail=check.detail)
    return driver


def _lock_state_folder(settings: WorkerSettings) -> int:
    """Hold the lock of this node's state folder: proof that no older process of the name lives on this machine."""
    folder = settings.home / "nodes"
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    fd = os.open(folder / f"{settings.node}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise ConfigError(
            f"node {settings.node!r} already runs on this machine",
            hint="stop the other worker, or set LEASEBOX_NODE to another name",
        ) from exc
    return fd


def _facts(driver: Driver, settings: WorkerSettings, lock_fd: int) -> Facts:
    return Facts(
        machine_id=_place_of_lock(lock_fd),
        driver=driver.name,
        slots=settings.slots,
        versions_json=json.dumps({"leasebox": version("leasebox"), "python": platform.python_version()}),
    )


def _place_of_lock(lock_fd: int) -> str:
    """Where the lock of the state folder proves something: this machine, in this boot, and this very file.

    Cloned machines share their machine id, and workers with folders of their own do not meet at one lock.
    """
    where = os.fstat(lock_fd)
    texts = [f"{where.st_dev}:{where.st_ino}"]
    for source in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        texts.append(Path(source).read_text().strip() if Path(source).exists() else platform.node())
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()[:32]
