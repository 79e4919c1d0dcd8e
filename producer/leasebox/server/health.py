"""How does the installation do? Waits, nodes, memory and webhooks, looked at when somebody asks, at most every 30 s."""

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from pydantic import BaseModel

from leasebox._reads import SILENT_AFTER_S
from leasebox.contract.errors import LeaseboxError
from leasebox.contract.keys import Keys
from leasebox.contract.queues import Priority
from leasebox.contract.scripts.census import Census, census

FRESH_S = 30.0
LONG_WAIT_S = 60.0
"""As the alerts of `ops/prometheus/rules` have it, like the others."""
FULL = 0.8
LATE_S = 300.0
_DAY_S = 86400


class Check(BaseModel):
    """One thing that was looked at, and when (unix seconds)."""

    name: str
    status: str
    message: str
    at: float


class Health:
    """The last look, of one API process."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._until = 0.0

    async def checks(self, run: Callable[[Generator[Any, Any, Census]], Awaitable[Census]], keys: Keys) -> list[Check]:
        """What was found, now or less than `FRESH_S` ago.

        Args:
            run: Carries a flow out.
        """
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + FRESH_S  # whoever asks meanwhile gets the look before
            try:
                self._checks = checks_of(await run(_counted(keys)), at=time.time())
            except LeaseboxError as exc:
                self._checks, self._until = [_check("census", f"cannot be had: {exc.code}", False, time.time())], 0.0
        return self._checks


def checks_of(found: Census, *, at: float) -> list[Check]:
    """What a census says to a person."""
    wait_s = max((line.wait_s for line in found.classes if line.name != Priority.BATCH), default=0.0)
    lost = [n.name for n in found.nodes if not n.is_draining and (n.is_dead or n.silent_s > SILENT_AFTER_S)]
    used, bound = (int(found.memory.get(name, 0)) for name in ("used_memory", "maxmemory"))
    share = used / bound if bound else 0.0
    memory = f"Redis uses {share:.0%} of its memory" if bound else "Redis has no bound of its memory"
    late_s = found.webhook_late_s
    return [
        _check("queues", f"the job that waits longest waits {wait_s:.0f} s", wait_s <= LONG_WAIT_S, at),
        _check("lost_nodes", ", ".join(lost) or "none", not lost, at),
        _check("memory", memory, share <= FULL, at),
        _check("webhooks", f"the latest delivery is {late_s:.0f} s late", late_s <= LATE_S, at),
    ]


def _check(name: str, message: str, is_ok: bool, at: float) -> Check:
    return Check(name=name, status="ok" if is_ok else "warning", message=message, at=at)


def _counted(keys: Keys) -> Generator[Any, Any, Census]:
    found: Census = yield census(keys, day=int(time.time() // _DAY_S))
    return found
