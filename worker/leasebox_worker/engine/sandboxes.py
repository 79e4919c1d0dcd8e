"""Which sandboxes this process holds, and how one is made: driver, channel, agent, probe."""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import structlog

from leasebox.contract.errors import LeaseboxError, SandboxDied, StartFailed
from leasebox.contract.spec import Limits
from leasebox_worker.drivers import base
from leasebox_worker.egress.proxy import Egress
from leasebox_worker.engine.circuit import Circuit
from leasebox_worker.engine.counts import Carried, Sample
from leasebox_worker.engine.outcome import Counted, counted
from leasebox_worker.engine.pace import Pace
from leasebox_worker.engine.place import Place
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.policy.admit import made_with, offers_network
from leasebox_worker.policy.profiles import Profile
from leasebox_worker.telemetry.metrics import ENDS, FAILURES, STARTS, End

log = structlog.get_logger()

LIMITS = "leasebox.limits"
"""The label by which a later incarnation knows what a sandbox was made with."""
SETTINGS = "leasebox.settings"
"""The same for what else of its profile cannot be changed any more: see `made_with`."""
MAX_MISSED = 3
"""An idle agent that has not answered so many pings in a row is given up, and its sandbox with it."""
RESYNC_MARGIN_S = 2.0
"""Beyond the dead-man time, after which an agent listens again."""


@dataclass(slots=True)
class Sandbox:
    """A sandbox that this process can speak to.

    Attributes:
        seen: The kernel's counts when last looked at, which is at each job's end.
        is_warm: It came through the pool, and no job has had it yet.
        image: What it was made from, and `settings` (see `made_with`) how; "" = nobody knows.
        interpreter_was_oom: Memory ended the last kept interpreter, and no cell has said so yet.
        sampled: When it was last measured for somebody who asked.
        carried: Through its network.
        disk_bytes: In its workspace when the last job ended.
    """

    name: str
    handle: base.Handle
    link: GuestLink
    limits: Limits
    seen: base.Stats = field(default=base.Stats(0.0, 0, 0, 0, 0))
    is_warm: bool = False
    interpreter_was_oom: bool = False
    image: str = ""
    settings: str = ""
    sampled: Sample | None = None
    carried: Carried = field(default_factory=Carried)
    disk_bytes: int = 0
    pace: Pace = field(default_factory=Pace)

    def text(self) -> str:
        """As it stands in Redis."""
        return json.dumps({"name": self.name, "driver": self.handle.driver, "id": self.handle.id})


@dataclass(frozen=True, slots=True)
class Placement:
    """What every sandbox of this process is made with.

    Attributes:
        incarnation: Which start of the worker makes them; each carries it as a label.
        egress: Makes the folder by which a sandbox can be let out; None = no sandbox ever is.
    """

    incarnation: str
    agent_dir: Path
    dead_man_s: float
    agent_exit_s: float
    ready_within_s: float
    egress: Egress | None = None


class Sandboxes:
    """All sandboxes of this process by name; thread-safe.

    Attributes:
        on_room: Called after a place came free, from the thread that freed it.
        circuit: Open while no sandbox can be made.
        lost: Set when one was found dead; whoever tells Redis clears it.
    """

    def __init__(self, driver: base.Driver, placement: Placement, *, bound: int) -> None:
        self.driver = driver
        self.circuit = Circuit(driver.ping)
        self.lost = threading.Event()
        self._placement = placement
        self._bound = bound
        self._held: dict[str, Sandbox] = {}
        self._reserved: set[Place] = set()
        self._failed: set[str] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self._has_room = threading.Condition(self._lock)
        self.on_room: Callable[[], None] = lambda: None
        self._undertaker = ThreadPoolExecutor(2, thread_name_prefix="undertaker")

    def reserve(self, within_s: float = 0.0) -> Place | None:
        """Keep a place for one more sandbox; None if the node is full or its engine down, and stays so `within_s`."""
        with self._lock:
            if not self._has_room.wait_for(lambda: self._free() > 0 and not self.circuit.is_open, within_s):
                return None
            place = Place(self._give_back)
            self._reserved.add(place)
            return place

    def free_places(self) -> int:
        """How many more sandboxes the node may hold."""
        with self._lock:
            return self._free()

    def _free(self) -> int:
        return self._bound - len(self._held) - len(self._reserved)

    def _give_back(self, place: Place) -> None:
        with self._lock:
            if place not in self._reserved:
                return
            self._reserved.remove(place)
            self._has_room.notify()
        self.on_room()

    def make(
        self, profile: Profile, limits: Limits, labels: Mapping[str, str], place: Place, *, purpose: str = "job"
    ) -> Sandbox:
        """Start a sandbox and wait for its agent.

        Args:
            place: From `reserve`; the sandbox has it from its success until its end.
            purpose: `job` or `pool`, for the metrics.

        Raises:
            SandboxError: It did not start; nothing of it is left.
        """
        name = f"lb-{uuid.uuid4().hex[:12]}"
        where, shared = self._placement, sandbox_limits(limits)
        request = base.SandboxRequest(
            name=name,
            profile=profile.name,
            image=profile.image,
            limits=shared,
            seccomp=profile.seccomp,
            labels={
                "leasebox.incarnation": where.incarnation,
                "leasebox.profile": profile.name,
                LIMITS: json.dumps(asdict(shared)),
                SETTINGS: made_with(profile),
                **labels,
            },
            agent_dir=where.agent_dir,
            preload=profile.preload,
            dead_man_s=where.dead_man_s,
            agent_exit_after_s=where.agent_exit_s,
            egress_dir=where.egress.make_folder(name) if where.egress and offers_network(profile) else None,
        )
        try:
            with STARTS.labels(profile.name, purpose).time():
                sandbox = self._started(request, limits)
        except LeaseboxError:
            FAILURES.labels(profile.name, purpose).inc()
            self._remove_folder(name)
            raise
        with self._lock:
            if not self._is_closed:
                self._reserved.remove(place)
                self._held[name] = sandbox
                return sandbox
        sandbox.link.close()
        self._bury(sandbox)
        raise StartFailed("the worker is stopping")

    def _started(self, request: base.SandboxRequest, limits: Limits) -> Sandbox:
        try:
            handle, channel = self.driver.create(request)
        except base.EngineDown as exc:
            self.circuit.trip(exc)
            raise
        sandbox = Sandbox(request.name, handle, GuestLink(channel), limits)
        try:
            sandbox.link.open(self._placement.ready_within_s)
        except LeaseboxError:
            sandbox.link.close()
            self._bury(sandbox)
            raise
        return sandbox

    def attach(self, found: base.Found) -> Sandbox:
        """Hold a sandbox that an older incarnation made; what ran in it has been killed.

        Raises:
            SandboxError: It is gone, does not answer, or nobody knows its limits.
        """
        try:
            limits = Limits(**asdict(base.Limits(**json.loads(found.labels[LIMITS]))))
        except (KeyError, TypeError, ValueError) as exc:
            raise SandboxDied(f"sandbox {found.handle.name} does not say its limits") from exc
        link = GuestLink(self.driver.attach(found.handle))
        sandbox = Sandbox(found.handle.name, found.handle, link, limits, image=found.image)
        sandbox.settings = found.labels.get(SETTINGS, "")
        try:
            sandbox.link.open_again(self._placement.dead_man_s + RESYNC_MARGIN_S)
        except LeaseboxError:
            sandbox.link.close()
            raise
        self.look(sandbox, thoroughly=True)  # what was killed before is no news
        with self._lock:
            self._held[sandbox.name] = sandbox
        return sandbox

    def find(self, text: str) -> Sandbox | None:
        """The sandbox that a record names; None if this process does not hold it.

        One that nobody can use is ended: its channel broke, or an attempt that is no longer ours still runs in it.
        """
        name = json.loads(text)["name"]
        with self._lock:
            sandbox = self._held.get(name)
        if sandbox is None:
            return None
        try:
            sandbox.link.check()  # one that died since the last ping must not cost its next job an attempt
        except LeaseboxError as exc:
            log.warning("sandbox_lost", sandbox=sandbox.name, reason=str(exc))
        if sandbox.link.is_broken or sandbox.link.is_busy:
            self.discard(sandbox, End.LOST)
            return None
        return sandbox

    def named(self, text: str) -> Sandbox | None:
        """The sandbox that a record names, however it is; None if it is none of ours."""
        with self._lock:
            return self._held.get(json.loads(text)["name"])

    def holds(self, text: str) -> bool:
        """Whether the sandbox that a record names is one of ours."""
        return self.named(text) is not None

    def why_gone(self, text: str) -> End:
        """Why a sandbox that a record names is not held any more."""
        return End.FAILED if json.loads(text)["name"] in self._failed else End.LOST

    def end(self, text: str, reason: End = End.CLOSED) -> None:
        """End the sandbox that a record names, in the background; one that is not held is reconcile's business."""
        sandbox = self.named(text)
        if sandbox is not None:
            self.discard(sandbox, reason)

    def discard(self, sandbox: Sandbox, reason: End = End.FAILED) -> None:
        """End a sandbox in the background: its end is nothing that a job should wait for."""
        with self._lock:
            if not self._let_go(sandbox, reason):
                return
            self._undertaker.submit(self._bury, sandbox)
        sandbox.link.close()
        self.on_room()

    def destroy(self, sandbox: Sandbox, reason: End = End.FAILED) -> None:
        """End a sandbox, and return when nothing runs in it any more."""
        with self._lock:
            is_ours = self._let_go(sandbox, reason)
        if is_ours:
            sandbox.link.close()
            self._bury(sandbox)
            self.on_room()

    def _let_go(self, sandbox: Sandbox, reason: End) -> bool:
        if self._held.pop(sandbox.name, None) is None:
            return False
        ENDS.labels(reason).inc()
        self._has_room.notify()
        return True

    def ping_all(self) -> None:
        """Tell every agent that its worker lives; one whose channel broke, or that does not answer, is ended here."""
        for sandbox in self.all():
            try:
                sandbox.link.ping()
            except LeaseboxError as exc:
                log.warning("sandbox_lost", sandbox=sandbox.name, reason=str(exc))
                self.discard(sandbox, End.LOST)
                self.lost.set()
                continue
            if sandbox.link.pulse.missed >= MAX_MISSED:
                log.warning("sandbox_failed", sandbox=sandbox.name, pings_missed=sandbox.link.pulse.missed)
                self._failed.add(sandbox.name)  # before it is gone: whoever misses it asks why
                self.discard(sandbox, End.FAILED)
                self.lost.set()

    def all(self) -> list[Sandbox]:
        """Every sandbox that is held."""
        with self._lock:
            return list(self._held.values())

    def renew(self, incarnation: str) -> None:
        """Sandboxes made from now on belong to another incarnation of this node."""
        self._placement = replace(self._placement, incarnation=incarnation)

    def count(self) -> int:
        """How many are held."""
        return len(self.names())

    def names(self) -> frozenset[str]:
        """Those that are held."""
        with self._lock:
            return frozenset(self._held)

    def discard_all(self, reason: End = End.LOST) -> None:
        """End every sandbox in the background."""
        with self._lock:
            held = list(self._held.values())
        for sandbox in held:
            self.discard(sandbox, reason)

    def leave_all(self) -> None:
        """Let go of idle sandboxes, for the next incarnation to find, and end the others; none is made any more."""
        with self._lock:
            self._is_closed = True
            held = list(self._held.values())
        for sandbox in held:
            if sandbox.link.is_busy or sandbox.link.is_broken:
                self.discard(sandbox, End.DRAINED)
            else:
                sandbox.link.close()
        self._undertaker.shutdown(wait=True)

    def end_all(self) -> None:
        """End every sandbox, and wait until all are gone; none is made any more."""
        with self._lock:
            self._is_closed = True
        self.discard_all(End.DRAINED)
        self._undertaker.shutdown(wait=True)

    def look(self, sandbox: Sandbox, *, thoroughly: bool) -> Counted:
        """What the host's kernel counted in this sandbox since the last look.

        Args:
            thoroughly: Ask the engine where it alone knows; else nothing is told then.
        """
        try:
            seen = self.driver.quick_stats(sandbox.handle)
            if seen is None and thoroughly:
                seen = self.driver.stats(sandbox.handle)
        except LeaseboxError as exc:
            log.warning("stats_unavailable", sandbox=sandbox.name, reason=str(exc))
            seen = None
        if seen is None:
            return Counted()
        before, sandbox.seen = sandbox.seen, seen
        return counted(before, seen)

    def _bury(self, sandbox: Sandbox) -> None:
        try:
            self.driver.kill(sandbox.handle)
            self._remove_folder(sandbox.name)
        except (LeaseboxError, OSError) as exc:  # reconcile tries again
            log.warning("sandbox_not_removed", sandbox=sandbox.name, reason=str(exc))

    def _remove_folder(self, name: str) -> None:
        if self._placement.egress:
            self._placement.egress.remove_folder(name)


def sandbox_limits(limits: Limits) -> base.Limits:
    """The part of effective limits that belongs to the sandbox as a whole."""
    assert limits.cpus is not None
    assert limits.memory_bytes is not None
    assert limits.pids is not None
    assert limits.open_files is not None
    assert limits.disk_bytes is not None
    assert limits.tmp_bytes is not None
    return base.Limits(
        cpus=limits.cpus,
        memory_bytes=limits.memory_bytes,
        pids=limits.pids,
        open_files=limits.open_files,
        disk_bytes=limits.disk_bytes,
        tmp_bytes=limits.tmp_bytes,
    )
