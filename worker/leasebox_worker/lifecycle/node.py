"""This process as a node: registered in Redis, alive by its heartbeat, told what is no longer its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle.tracker import LeaseTracker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node publishes of itself."""

    machine_id: str
    driver: str
    slots: int
    versions_json: str


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do when Redis says that something is no longer ours.

    Attributes:
        cancel: Called with a job.
        disown: Called with a job and the lease under which it is not ours.
    """

    cancel: Callable[[str], None]
    disown: Callable[[str, str], None]


class Standing(StrEnum):
    """What Redis says of this incarnation."""

    ALIVE = "alive"
    FENCED = "fenced"
    """It was silent for too long: everything that it held was given to others. It may register again."""
    NAME_TAKEN = "name_taken"
    """Another live process has the name."""


class Node:
    """Registers, and keeps the registration alive."""

    def __init__(self, runner: Runner, keys: Keys, tracker: LeaseTracker, facts: Facts) -> None:
        self._run = runner.run
        self._keys = keys
        self._tracker = tracker
        self._facts = facts

    @property
    def machine_id(self) -> str:
        """What a process must share with another one to know that it is gone."""
        return self._facts.machine_id

    def adopt(
        self,
        found: Sequence[a.FoundSandbox],
        *,
        has_proof: bool,
        reclaim_s: float,
        wait_s: float,
        incarnation: str | None = None,
    ) -> a.Adopted:
        """Take the node's name over; answers which of the sandboxes found to keep and which to destroy.

        Args:
            found: Sandboxes of sessions that outlived the worker before.
            reclaim_s: After so much silence another holder of the name counts as dead.
            has_proof: We hold the lock of the state folder, so that no older process of this name lives on it.
            wait_s: How long to wait for another live holder of the name to fall silent.
            incarnation: Register as this one; default the tracker's.

        Raises:
            ConfigError: Another live process has the name.
        """
        identity, facts = self._tracker.identity, self._facts
        deadline = time.monotonic() + wait_s
        destroy: tuple[a.FoundSandbox, ...] = ()
        while True:
            answer = self._run(
                node.adopt(
                    self._keys,
                    node=identity.node,
                    incarnation=incarnation or identity.incarnation,
                    machine_id=facts.machine_id,
                    has_proof=has_proof,
                    driver=facts.driver,
                    slots=facts.slots,
                    versions_json=facts.versions_json,
                    found=found,
                    reclaim_s=reclaim_s,
                )
            )
            if isinstance(answer, a.NameTaken):
                self._wait_for_the_name(answer.seconds, deadline)
                continue
            destroy += answer.destroy
            if not answer.more:
                return a.Adopted(keep=answer.keep, destroy=destroy, more=False)
            found = answer.keep

    def _wait_for_the_name(self, silent_in_s: float, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"node {self._tracker.identity.node!r} is in use by another live worker",
                hint="set LEASEBOX_NODE to a name of its own, or stop the other worker",
            )
        time.sleep(min(1.0, max(0.1, silent_in_s)))

    def leave(self) -> None:
        """Say that this incarnation and its sandboxes are gone: its sessions go on elsewhere, and say so.

        Nothing happens while it has claims: they are given up by others, when it has been silent long enough.
        """
        identity = self._tracker.identity
        call = node.forget(self._keys, node=identity.node, incarnation=identity.incarnation, reason="drained", own=True)
        while isinstance(answer := self._run(call), a.Forgotten) and answer.more:
            pass

    def rest(self) -> None:
        """Say that this incarnation ends, but its sandboxes wait for the next one, for the longer grace of a drain."""
        self.heartbeat(Orders(lambda _: None, lambda *_: None), busy=0, draining=True)

    def heartbeat(self, orders: Orders, *, busy: int, draining: bool, paused: Sequence[str] = ()) -> Standing:
        """Say that we live, and what we hold; carry out what Redis answers.

        Raises:
            redis.RedisError: No answer; whether Redis got it is unknown.
        """
        while True:
            identity, held = self._tracker.identity, self._tracker.held()
            answer = self._run(
                node.heartbeat(
                    self._keys,
                    node=identity.node,
                    incarnation=identity.incarnation,
                    held=held,
                    slots=self._facts.slots,
                    busy=busy,
                    draining=draining,
                    paused=paused,
                )
            )
            match answer:
                case a.NameTaken():
                    return Standing.NAME_TAKEN
                case a.Fenced():
                    return Standing.FENCED
                case a.Alive(not_ours=not_ours, cancelled=cancelled, more=more):
                    self._obey(orders, {job: lease for job, lease, _ in held}, not_ours, cancelled)
                    if not more:
                        return Standing.ALIVE

    def _obey(
        self, orders: Orders, leases: Mapping[str, str], not_ours: Sequence[str], cancelled: Sequence[str]
    ) -> None:
        for job in not_ours:
            if self._tracker.forfeit(job, leases[job]):
                log.warning("lease_given_up_by_redis", job_id=job)
                orders.disown(job, leases[job])
        for job in cancelled:
            orders.cancel(job)
