"""How do jobs find a warm sandbox? Made ahead of demand, probed, never used before; beside the jobs, never before them.

A pool sandbox has exactly its profile's limits. The client marks the record of a job that asks for other limits of the
whole sandbox (`own_limits`), and `acquire` gives it none: thrown away by the worker instead, it would cost two starts a
job where all jobs ask for less memory. The worker compares all the same, because a record may be an older client's.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import redis
import structlog

from leasebox.contract.errors import GuestProtocolError, LeaseboxError
from leasebox.contract.spec import Limits
from leasebox_worker.engine.intake import Intake, Pause
from leasebox_worker.engine.place import Place
from leasebox_worker.engine.sandboxes import Sandbox, Sandboxes, sandbox_limits
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.lifecycle.pool import Drop, Make, Pools, Shelf, Stock, gives_way, refill_plan
from leasebox_worker.policy.admit import BASE_ENV, effective_limits, made_with
from leasebox_worker.policy.profiles import Profile
from leasebox_worker.telemetry.metrics import DRIFT, End

log = structlog.get_logger()

LOOK_S = 1.0
"""Between two looks at the pool when nobody asks."""
REST_S = 10.0
"""After a sandbox that did not start: the reason (an image, the engine) rarely goes in a moment."""
PROBE_WITHIN_S = 10.0
CODE = b"pass"


@dataclass(frozen=True, slots=True)
class Refilling:
    """How a node refills.

    Attributes:
        makers: How many sandboxes are made at the same time.
        node_cpus: A profile's `cpus` never exceed them.
        evicts: Ends the session that was idle longest, if the operator allows that; False if none may end.
    """

    makers: int
    node_cpus: float
    evicts: Callable[[], bool] = lambda: False


class Refill:
    """Keeps the pools of this node filled, and makes room when it is full; thread-safe."""

    def __init__(
        self,
        pools: Pools,
        sandboxes: Sandboxes,
        profiles: Mapping[str, Profile],
        intake: Intake,
        how: Refilling,
    ) -> None:
        self._pools = pools
        self._sandboxes = sandboxes
        self._profiles = profiles  # those without a pool too: one that was taken over from before may have some
        self._intake = intake
        self._how = how
        self._makers = ThreadPoolExecutor(how.makers, thread_name_prefix="refill")
        self._making = dict.fromkeys(profiles, 0)
        self._rests_until: dict[str, float] = {}
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._is_wanted = False

    def ask(self) -> None:
        """Look at the pools soon. Before the first time nothing is made: an embedded stack first runs its job."""
        self._is_wanted = True
        self._asked.set()

    def watch(self) -> None:
        """Wait until somebody asks, at most a second; then do what the plan says."""
        self._asked.wait(LOOK_S)
        self._asked.clear()
        if Pause.FULL in self._intake.reasons and (place := self.make_room()) is not None:
            place.release()
        if not self._is_wanted:
            return
        for action in refill_plan(self._stock()):
            match action:
                case Make(profile):
                    self._make_soon(self._profiles[profile])
                case Drop():
                    self._drop(action)

    def make_room(self) -> Place | None:
        """A place for a sandbox on a full node: a warm one gives way, then an idle session if the operator allows."""
        while (place := self._sandboxes.reserve()) is None:
            if self._sandboxes.free_places() > 0:
                return None  # what lacks is not room
            first = gives_way(self._shelves())
            if first is not None:
                self._drop(first)
            elif not self._how.evicts():
                return None
        return place

    def take_over(self, sandbox: Sandbox, profile: str) -> None:
        """Offer a sandbox that an older incarnation made and no job ever had; one that does not fit any more ends."""
        served = self._profiles.get(profile)
        if served is None or not self._fits(sandbox, served):
            self._sandboxes.discard(sandbox, End.SURPLUS)
            return
        try:
            self.offer(sandbox, served)
        except LeaseboxError as exc:
            log.warning("warm_sandbox_not_adopted", sandbox=sandbox.name, reason=str(exc))

    def _fits(self, sandbox: Sandbox, profile: Profile) -> bool:
        """Whether a new one would come out the same, now that profiles and images may have changed."""
        made = (sandbox.image, sandbox.settings, sandbox_limits(sandbox.limits))
        return made == (profile.image, made_with(profile), sandbox_limits(self._limits(profile)))

    def offer(self, sandbox: Sandbox, profile: Profile) -> None:
        """Probe a sandbox that no job ever had, and put it into its profile's pool; one that fails is ended.

        Raises:
            SandboxError: It did not pass.
            RedisError: Nobody knows whether Redis took it; it is ended.
        """
        try:
            probe(sandbox)
            sandbox.is_warm = True
            is_pooled = self._pools.push(profile.name, sandbox.text())
        except BaseException:
            self._sandboxes.discard(sandbox, End.FAILED)
            raise
        if not is_pooled:
            self._sandboxes.discard(sandbox, End.DRAINED)

    def stop(self) -> None:
        """Make no more; returns when none is being made. Call it when nobody watches any more."""
        self._makers.shutdown(wait=True, cancel_futures=True)

    def _stock(self) -> Stock:
        reasons = self._intake.reasons
        is_draining = Pause.DRAINING in reasons
        with self._lock:
            idle_makers = self._how.makers - sum(self._making.values())
        return Stock(
            shelves=self._shelves(),
            free_places=self._sandboxes.free_places(),
            idle_makers=idle_makers,
            may_make=not reasons,
            is_draining=is_draining,
        )

    def _shelves(self) -> tuple[Shelf, ...]:
        # In this order: a sandbox that is pushed in between counts twice rather than not at all.
        making = dict(self._making)
        ready = self._pools.ready(list(self._profiles))
        return tuple(
            Shelf(
                profile.name,
                profile.pool,
                texts,
                frozenset(text for text in texts if not self._sandboxes.holds(text)),
                making[profile.name],
                time.monotonic() < self._rests_until.get(profile.name, 0.0),
            )
            for profile, texts in zip(self._profiles.values(), ready, strict=True)
        )

    def _limits(self, profile: Profile) -> Limits:
        return effective_limits(Limits(), profile, node_cpus=self._how.node_cpus)

    def _drop(self, drop: Drop) -> None:
        if self._pools.drop(drop.profile, drop.sandbox):
            if not self._sandboxes.holds(drop.sandbox):
                DRIFT.labels("pool").inc()
            self._sandboxes.end(drop.sandbox, End.SURPLUS)

    def _make_soon(self, profile: Profile) -> None:
        place = self._sandboxes.reserve()
        if place is None:
            return
        with self._lock:
            self._making[profile.name] += 1
        self._makers.submit(self._make, profile, place)

    def _make(self, profile: Profile, place: Place) -> None:
        labels = {"leasebox.session": "", "leasebox.pool": profile.name}
        try:
            self.offer(self._sandboxes.make(profile, self._limits(profile), labels, place, purpose="pool"), profile)
        except (LeaseboxError, redis.RedisError) as exc:
            log.warning("refill_failed", profile=profile.name, reason=str(exc))
            self._rests_until[profile.name] = time.monotonic() + REST_S
        finally:
            place.release()
            with self._lock:
                self._making[profile.name] -= 1
            # What was being made could not give way; now it can, and a job may have been turned away for it.
            self._intake.resume(Pause.FULL)


def probe(sandbox: Sandbox) -> None:
    """Run a program of nothing.

    Raises:
        SandboxError: The sandbox is of no use.
    """
    request = Exec(
        id="probe/python",
        kind="python",
        argv=("main.py",),
        code_bytes=len(CODE),
        code_path="main.py",
        cwd=sandbox.handle.workspace,
        env={"HOME": sandbox.handle.workspace} | BASE_ENV,
        wall_s=PROBE_WITHIN_S,
        cpu_s=None,
        silence_s=None,
        stream_bytes=1 << 16,
        line_buffered=True,
        cancel_grace_s=0.0,
        more_soon=False,
    )
    exited, _, stderr = sandbox.link.run(request, CODE, (), within_s=PROBE_WITHIN_S + 1.0)
    if exited.code != 0 or not exited.is_clean:
        raise GuestProtocolError(f"the probe ended {exited.code}: {stderr.decode(errors='replace')[:200]}")
