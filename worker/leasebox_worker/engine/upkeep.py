"""Which duties keep engine, records and this process in agreement about sandboxes? Reconcile, detach, probe."""

import redis

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.intake import Pause
from leasebox_worker.lifecycle.beat import Beat
from leasebox_worker.lifecycle.reconcile import Place, Reconciler
from leasebox_worker.telemetry.metrics import DRIFT

LOOK_S = 1.0


def upkeep(client: redis.Redis, runner: Runner, keys: Keys, place: Place, deps: Deps, *, period_s: float) -> list[Beat]:
    """The duties, not begun yet; from now on the engine's state opens and closes the intake.

    Args:
        period_s: Between two comparisons of engine and records.
    """
    sandboxes = deps.sandboxes
    reconciler = Reconciler(client, runner, keys, place, sandboxes.driver, sandboxes.names, sandboxes.why_gone)

    def _reconcile() -> None:
        drift = reconciler.reconcile()
        DRIFT.labels("sandbox").inc(drift.destroyed)
        DRIFT.labels("session").inc(drift.detached)

    def _detach() -> None:
        if sandboxes.lost.is_set():
            sandboxes.lost.clear()
            reconciler.detach_dead()

    def _obey_engine(is_down: bool) -> None:
        (deps.intake.pause if is_down else deps.intake.resume)(Pause.ENGINE_DOWN)

    sandboxes.circuit.changed = _obey_engine
    return [
        Beat("reconcile", _reconcile, period_s),
        Beat("detach", _detach, LOOK_S),  # not by the ping's thread, which must never wait for Redis
        Beat("engine", sandboxes.circuit.probe, LOOK_S),
    ]
