"""What becomes of the sandboxes that an older process of this node left?

A Docker sandbox that a session or a pool has is attached again; what still ran in it is killed. All others end. This
comes before script adopt, which gives the old claims up: from then on their jobs may start elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from leasebox.contract.errors import LeaseboxError, SandboxError
from leasebox.contract.scripts import answers as a
from leasebox_worker.drivers.base import Driver, Found
from leasebox_worker.engine.refill import Refill
from leasebox_worker.engine.sandboxes import Sandbox, Sandboxes
from leasebox_worker.lifecycle.owners import Owners, SessionOwner
from leasebox_worker.policy.profiles import Profile
from leasebox_worker.telemetry.metrics import End

log = structlog.get_logger()

AT_ONCE = 8
"""How many are attached or ended at the same time: each may have to wait for a silent agent."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with each sandbox that was found."""

    attach: tuple[Found, ...]
    end: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Pooled:
    """A sandbox that no job has used, made by an older incarnation; it has answered and is held."""

    profile: str
    sandbox: Sandbox


def adoption_plan(found: Sequence[Found], owners: Owners, *, outlives_worker: bool) -> Plan:
    """Attach what runs and somebody has; end the rest."""
    attach: list[Found] = []
    end: list[Found] = []
    for sandbox in found:
        name = sandbox.handle.name
        is_wanted = name in owners.sessions or name in owners.pooled
        (attach if outlives_worker and sandbox.alive and is_wanted else end).append(sandbox)
    return Plan(tuple(attach), tuple(end))


def take_over(
    sandboxes: Sandboxes, owners: Owners, adopt: Callable[[Sequence[a.FoundSandbox]], a.Adopted]
) -> list[Pooled]:
    """Register this incarnation with what is left of the one before.

    Args:
        owners: Read before; the script drops the old pools.
        adopt: Registers, and says which of the sessions' sandboxes to keep.

    Returns:
        The never-used ones, for the new incarnation's pools.

    Raises:
        SandboxError: One could not be ended, so that its job may still run; nothing was registered.
        ConfigError: Another live worker has the node's name.
    """
    driver = sandboxes.driver
    plan = adoption_plan(driver.list(), owners, outlives_worker=driver.outlives_worker)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="adopt") as pool:
        list(pool.map(lambda found: _end(driver, found), plan.end))
        attached = [sandbox for sandbox in pool.map(lambda found: _attach(sandboxes, found), plan.attach) if sandbox]
    of_sessions = {owner.line: s for s in attached if (owner := owners.sessions.get(s.name))}
    answer = adopt([_as_found(owners.sessions[sandbox.name]) for sandbox in of_sessions.values()])
    kept = {found.line for found in answer.keep}
    for line, sandbox in of_sessions.items():
        if line not in kept:
            sandboxes.discard(sandbox, End.LOST)
    pooled = [Pooled(owners.pooled[s.name], s) for s in attached if s.name in owners.pooled]
    log.info("sandboxes_adopted", sessions=len(kept), pooled=len(pooled), ended=len(plan.end))
    return pooled


def offer(found: Sequence[Pooled], profiles: Mapping[str, Profile], refill: Refill, sandboxes: Sandboxes) -> None:
    """Put never-used sandboxes that still work into the pools of this incarnation; end the others."""
    for pooled in found:
        profile = profiles.get(pooled.profile)
        if profile is None:
            sandboxes.discard(pooled.sandbox, End.SURPLUS)
            continue
        try:
            refill.offer(pooled.sandbox, profile)
        except SandboxError as exc:
            log.warning("sandbox_not_pooled", sandbox=pooled.sandbox.name, reason=str(exc))


def _as_found(owner: SessionOwner) -> a.FoundSandbox:
    return a.FoundSandbox(owner.line, owner.generation, owner.text)


def _attach(sandboxes: Sandboxes, found: Found) -> Sandbox | None:
    try:
        return sandboxes.attach(found)
    except LeaseboxError as exc:
        log.warning("sandbox_not_adopted", sandbox=found.handle.name, reason=str(exc))
        _end(sandboxes.driver, found)
        return None


def _end(driver: Driver, found: Found) -> None:
    log.info("leftover_ended", sandbox=found.handle.name)
    driver.kill(found.handle)
