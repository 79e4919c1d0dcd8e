"""Which requests are told in the audit log, and as what? All that changes something, and all that is refused a key."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from leasebox import _access
from leasebox.contract.audit import Door, Record

WINDOW_S = 60.0
REFUSALS = 100
"""Told one by one in a window, for each key and for all that show none together; beyond, their count is."""
_ACTIONS = {
    "POST /v1/jobs": "job.submit",
    "POST /v1/sessions/{name}/jobs": "job.submit",
    "POST /v1/jobs/{job}/cancel": "job.cancel",
    "DELETE /v1/jobs/{job}": "job.erase",
    "POST /v1/blobs": "blob.upload",
    "POST /v1/batches": "batch.submit",
    "POST /v1/batches/{batch}/jobs": "batch.add",
    "POST /v1/batches/{batch}/seal": "batch.seal",
    "POST /v1/batches/{batch}/cancel": "batch.cancel",
    "POST /v1/sessions": "session.open",
    "DELETE /v1/sessions/{name}": "session.close",
    "POST /v1/sessions/{name}/files": "file.operate",
    "PUT /v1/sessions/{name}/files/{path:path}": "file.write",
    "DELETE /v1/sessions/{name}/files/{path:path}": "file.remove",
    "POST /v1/webhooks/{job}/replay": "webhook.replay",
    "POST /v1/webhooks/test": "webhook.test",
    "POST /v1/keys": "key.create",
    "POST /v1/keys/{key}/rotate": "key.rotate",
    "DELETE /v1/keys/{key}": "key.revoke",
    "POST /page/key": "page.enter",
    "POST /page/jobs/{job}/cancel": "job.cancel",
    "POST /page/sessions/{name}/close": "session.close",
}
_REFUSED = {401: "unauthorized", 403: "forbidden"}
# They change nothing that would not be told by what they belong to, and come as often as somebody types.
_QUIET = {"POST /v1/jobs/{job}/stdin", "POST /v1/sessions/{name}/touch", "POST /page/forget"}
_READING = ("GET", "HEAD", "OPTIONS", "WEBSOCKET")
# Of all tenants together; names of sessions are each tenant's own.
_OWNED = {"job": "unknown_job", "batch": "unknown_batch"}


class Seen(NamedTuple):
    """A request to be told.

    Attributes:
        owned: `job` or `batch` whose id was not found in the caller's tenant: another one may have it.
        is_reading: It would have changed nothing, and is told only if the id is another tenant's.
    """

    record: Record
    owned: str | None = None
    is_reading: bool = False


def seen(scope: Mapping[str, Any], status: int, now: float) -> Seen | None:
    """What is to be told of a request that was answered; None = nothing.

    Args:
        scope: With what `service.desk` and `problems` noted in its state.
        status: Of the answer; 0 = there was none.
    """
    state, method = scope.get("state", {}), scope.get("method", "WEBSOCKET")
    pattern = getattr(scope.get("route"), "path", None)
    is_barred = status in (401, 403)
    if pattern is None and not is_barred:
        return None
    route = f"{method} {pattern or scope['path']}"
    params: Mapping[str, Any] = scope.get("path_params", {})
    result = "ok" if 0 < status < 400 else state.get("refused") or _REFUSED.get(status, "failed")
    owned = next((kind for kind, code in _OWNED.items() if kind in params and code == result), None)
    is_reading = method in _READING or route in _QUIET
    if is_reading and not is_barred and owned is None:
        return None
    notes = dict(state.get("notes", {}))
    target = str(notes.pop("target", "") or "/".join(str(value) for value in params.values()))
    record = record_of(scope, now, _ACTIONS.get(route, route), target, result)
    return Seen(replace(record, more={**record.more, **notes}), owned, is_reading)


def record_of(scope: Mapping[str, Any], now: float, action: str, target: str, result: str = "ok") -> Record:
    """The record of an action by whoever asks in this scope."""
    state, client = scope.get("state", {}), scope.get("client")
    caller = state.get("caller")
    key = caller.key if caller is not None else None
    shown = _access.id_of(state.get("shown") or "")  # good or not
    actor = key.id if key is not None else "local" if caller is not None else shown or ""
    return Record(
        at=now,
        door=Door.HTTP,
        action=action,
        actor=actor,
        tenant=caller.tenant if caller is not None else "",
        target=target,
        result=result,
        request=str(state.get("request_id", "")),
        more={"address": str(client[0])} if client else {},
    )


@dataclass(slots=True)
class _Window:
    since: float
    told: int = 0
    last: Record | None = None
    untold: int = 0


class Sieve:
    """Lets so many refusals through, and counts the others: nobody can push out of the log what he has done."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def passes(self, record: Record, now: float) -> bool:
        """Whether a refusal is told by itself; else it is counted."""
        window = self._windows.setdefault(_whose(record), _Window(now))
        if window.told < REFUSALS:
            window.told += 1
            return True
        window.last, window.untold = record, window.untold + 1
        return False

    def counted(self, now: float, *, is_last: bool = False) -> list[Record]:
        """A record for each window that is over and had more; all, when it `is_last`."""
        over = {whose: w for whose, w in self._windows.items() if is_last or now - w.since >= WINDOW_S}
        for whose in over:
            del self._windows[whose]
        return [
            replace(w.last, at=now, action="refusals", target="", request="", more={**w.last.more, "count": w.untold})
            for w in over.values()
            if w.last is not None
        ]


def _whose(record: Record) -> str:
    # Who shows no good key may show any id.
    return record.actor if record.tenant else ""
