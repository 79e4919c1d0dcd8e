"""What is checked before a node is told of: settings, Redis, the lock of its name, the driver's protections."""

import fcntl
import hashlib
import json
import os
import platform
import uuid
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import redis
import structlog

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox_guest.install import install
from leasebox_worker.config import DriverName, WorkerSettings
from leasebox_worker.drivers.base import Driver, DriverSettings, require
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS
from leasebox_worker.drivers.choose import choose
from leasebox_worker.engine.connection import connect, installation_of
from leasebox_worker.engine.languages import survey
from leasebox_worker.engine.publication import publish
from leasebox_worker.lifecycle.node import Facts
from leasebox_worker.lifecycle.tracker import Identity
from leasebox_worker.policy import profiles as policy
from leasebox_worker.policy import quota
from leasebox_worker.policy.languages import Toolbox
from leasebox_worker.policy.profiles import Profile
from leasebox_worker.policy.quota import Quota
from leasebox_worker.telemetry import metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything of a worker stands on.

    Attributes:
        client: For the start alone: it waits where duties would go on.
        waived: Names of the required protections that are missing and were accepted by name.
        toolboxes: By profile; one is missing where no sandbox of its image starts.
    """

    settings: WorkerSettings
    client: redis.Redis
    keys: Keys
    runner: Runner
    identity: Identity
    installation: str
    profiles: dict[str, Profile]
    quotas: dict[str, Quota]
    driver: Driver
    agent_dir: Path
    lock_fd: int
    toolboxes: dict[str, Toolbox]
    waived: tuple[str, ...]


def check(settings: WorkerSettings, *, is_embedded: bool) -> Ground:
    """Look at all that can refuse a start before anybody hears of this node.

    Args:
        is_embedded: Of a private stack of one user: `auto` takes bubblewrap before Docker.

    Raises:
        ConfigError, BrokerUnavailable, DriverUnsafe, EngineDown: The worker cannot start; nothing was left behind.
    """
    profiles, quotas = policy.load(settings.profiles_file), quota.load(settings.tenants_file)
    client = connect(settings.url, is_patient=True)
    keys, runner = Keys(settings.prefix), Runner(client)
    identity = Identity(settings.node, uuid.uuid4().hex[:12])
    publish(runner, keys, identity, profiles, quotas=quotas, reclaim_s=settings.timers.reclaim_s)
    lock_fd = _lock_state_folder(settings)
    agent_dir = install(settings.home / "agent", platform.python_version())
    installation = installation_of(client, keys)
    driver, waived = _checked_driver(settings, installation, agent_dir, is_embedded=is_embedded)
    if settings.metrics_port is not None:
        metrics.serve(settings.metrics_host, settings.metrics_port)
    found = survey(driver, agent_dir, profiles)
    return Ground(
        settings, client, keys, runner, identity, installation, profiles, quotas, driver, agent_dir, lock_fd, found,
        waived,
    )  # fmt: skip


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


def _checked_driver(
    settings: WorkerSettings, installation: str, agent_dir: Path, *, is_embedded: bool
) -> tuple[Driver, tuple[str, ...]]:
    """The driver, after it has shown that its protections are in effect; and the names of those it does without."""
    prefer = DriverName.BUBBLEWRAP if is_embedded else DriverName.DOCKER
    asked = driver_settings(settings, installation)
    if is_embedded:  # a private stack of one user may do without what rootless bubblewrap lacks
        asked = replace(asked, accept_missing=asked.accept_missing | ROOTLESS_LACKS)
    driver = choose(settings.driver, asked, prefer=prefer)
    driver.ping()  # an engine that is not up yet is no unsafe one: starting again can help
    missing = require([*driver.check(), *driver.verify(agent_dir)], asked.accept_missing)
    for check in missing:
        metrics.MISSING.labels(check.name).set(1)
        log.warning("protection_missing", name=check.name, detail=check.detail)
    return driver, tuple(check.name for check in missing if check.required)


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


def facts_of(ground: Ground) -> Facts:
    """What the node publishes of itself."""
    return Facts(
        machine_id=_place_of_lock(ground.lock_fd),
        driver=ground.driver.name,
        slots=ground.settings.slots,
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
