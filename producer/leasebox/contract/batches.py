"""What does a batch look like to those who fill and follow it: how it stands, what it tells, what it refused?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from leasebox.contract.result import Result

BATCH_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$"
MAX_NAME = 128
MAX_KEY = 256


class ItemError(BaseModel):
    """Why one spec of many was refused; the others are not concerned.

    Attributes:
        index: Its place among the specs, from 0 on.
        code: Of the error, as in `leasebox.errors`.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)

    index: int
    code: str
    detail: str


class BatchInfo(BaseModel):
    """How a batch stands. `total` and `done` are counted in the very step that takes or ends a job.

    Attributes:
        by_outcome: How many of `done` ended with each outcome.
        sealed: It takes no further job; it has ended when `done` has reached `total`.
        cancelled: Its jobs were asked to end.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)

    id: str
    name: str | None = None
    total: int
    done: int
    by_outcome: dict[str, int] = {}
    sealed: bool
    cancelled: bool = False
    created_at: float
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class JobDone:
    """A job of the batch has ended.

    Attributes:
        id: Cursor to go on from.
        index, key: Its place among the specs, and the caller's own name for it.
        result: Where it was asked for, and is still kept.
    """

    type: ClassVar[str] = "done"
    id: str
    at: float
    job: str
    index: int
    key: str | None
    outcome: str
    result: Result | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """The last event: the batch is sealed, and all its jobs have ended."""

    type: ClassVar[str] = "finished"
    id: str
    at: float
    total: int
    done: int
    by_outcome: Mapping[str, int]


BatchEvent = JobDone | BatchFinished


def event_json(event: BatchEvent) -> dict[str, Any]:
    """The event as an object with `id`, `at`, `type` and its own fields; `result` only where there is one."""
    data: dict[str, Any] = {"id": event.id, "at": event.at, "type": event.type}
    if isinstance(event, BatchFinished):
        return data | {"total": event.total, "done": event.done, "by_outcome": dict(event.by_outcome)}
    data |= {"job": event.job, "index": event.index, "key": event.key, "outcome": event.outcome}
    return data if event.result is None else data | {"result": event.result.model_dump(mode="json")}


def event_of(data: Mapping[str, Any]) -> BatchEvent | None:
    """The event that `event_json` wrote; None for one that only a newer version knows."""
    name, at = data["id"], data["at"]
    match data["type"]:
        case "done":
            result = Result.model_validate(data["result"]) if data.get("result") is not None else None
            return JobDone(name, at, data["job"], data["index"], data["key"], data["outcome"], result)
        case "finished":
            return BatchFinished(name, at, data["total"], data["done"], dict(data["by_outcome"]))
        case _:
            return None
