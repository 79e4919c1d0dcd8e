"""Do the engine and Redis agree on which sandboxes a node has? What only one of them knows is ended or detached."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import redis
import structlog

from leasebox.contract.errors import LeaseboxError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.drivers.base import LABEL_INSTALLATION, LABEL_NODE, Driver, Found, Handle
from leasebox_worker.lifecycle import owners
from leasebox_worker.lifecycle.owners import Owners, SessionOwner

log = structlog.get_logger()

MIN_AGE_S = 60.0
"""A younger sandbox may be on its way to its session. PROTOCOL.md (b), reconcile."""


@dataclass(frozen=True, slots=True)
class Destroy:
    """A sandbox that nobody has."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Detach:
    """A session whose sandbox is gone."""

    owner: SessionOwner


@dataclass(frozen=True, slots=True)
class Drift:
    """How much had to be put right."""

    destroyed: int = 0
    detached: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Whose sandboxes are our business; all others are never touched."""

    installation: str
    node: str


def destroy_plan(place: Place, found: Iterable[Found], has: Owners, *, now: float) -> list[Destroy]:
    """The sandboxes of this place that no session, pool or claim has, and that are old enough to be sure.

    Args:
        found: Seen before `has` was read: what was made since then is not among them.
        now: By the clock of the sandboxes' host.
    """
    return [
        Destroy(sandbox.handle)
        for sandbox in found
        if sandbox.labels.get(LABEL_INSTALLATION) == place.installation
        and sandbox.labels.get(LABEL_NODE) == place.node
        and now - sandbox.created_at > MIN_AGE_S
        and not has.has(sandbox.handle.name)
        and sandbox.labels.get("leasebox.job", "") not in has.starting
    ]


def detach_plan(has: Owners, held: frozenset[str]) -> list[Detach]:
    """The idle sessions whose sandbox this process does not hold: it holds all that exist.

    One whose job runs is told by that job.

    Args:
        held: Asked after `has` was read: a sandbox is held before it is bound.
    """
    return [Detach(owner) for name, owner in has.sessions.items() if owner.state == "idle" and name not in held]


class Reconciler:
    """Compares, and puts right."""

    def __init__(
        self,
        client: redis.Redis,
        runner: Runner,
        keys: Keys,
        place: Place,
        driver: Driver,
        held: Callable[[], frozenset[str]],
        why_gone: Callable[[str], str] = lambda _text: "lost",
    ) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._place = place
        self._driver = driver
        self._held = held
        self._why_gone = why_gone

    def reconcile(self) -> Drift:
        """Both ways.

        Raises:
            EngineDown: Nothing can be compared now.
        """
        found = self._driver.list()
        has = owners.read(self._redis, self._keys, self._place.node)
        doomed = destroy_plan(self._place, found, has, now=time.time())
        destroyed = sum(self._destroy(action.handle) for action in doomed)
        return Drift(destroyed=destroyed, detached=self._detach_all(detach_plan(has, self._held())))

    def detach_dead(self) -> Drift:
        """From Redis' side alone: the session of a sandbox that was just found dead need not wait for the next look."""
        has = owners.read(self._redis, self._keys, self._place.node)
        return Drift(detached=self._detach_all(detach_plan(has, self._held())))

    def _destroy(self, handle: Handle) -> bool:
        try:
            self._driver.kill(handle)
        except (LeaseboxError, OSError) as exc:
            log.warning("sandbox_not_removed", sandbox=handle.name, reason=str(exc))
            return False
        log.warning("orphan_destroyed", sandbox=handle.name)
        return True

    def _detach_all(self, actions: Sequence[Detach]) -> int:
        return sum(self._detach(action.owner) for action in actions)

    def _detach(self, owner: SessionOwner) -> bool:
        call = node.detach(
            self._keys,
            line=owner.line,
            generation=owner.generation,
            sandbox=owner.text,
            reason=self._why_gone(owner.text),
        )
        is_detached = isinstance(self._run(call), a.Detached)
        if is_detached:
            log.warning("session_detached", session=owner.line)
        return is_detached
