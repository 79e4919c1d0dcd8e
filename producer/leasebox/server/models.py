"""What do the routes take and give beside the models of the contract?"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from leasebox.contract.batches import BatchInfo, ItemError
from leasebox.contract.names import LABEL, SESSION_NAME
from leasebox.contract.result import JobStatus, Result, SessionInfo
from leasebox.contract.spec import PositiveSeconds, ProfileName, SessionName
from leasebox.server.rates import HEADERS

MAX_WAIT_S = 60.0
MAX_PAGE = 1000
Documented = dict[int | str, dict[str, Any]]

JobId = Annotated[str, Path(description="Id of a job.", min_length=1, max_length=64)]
Name = Annotated[str, Path(description="Name of a session.", pattern=SESSION_NAME)]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Wait so long, in seconds, for the end of the job.")]
PageSize = Annotated[int, Query(alias="limit", ge=1, le=MAX_PAGE, description="Items of this page, at most.")]
Cursor = Annotated[str | None, Query(max_length=256, description="`next_cursor` of the page before.")]


class Job(JobStatus):
    """How a job stands, whether an earlier submit had made it, and once it has ended its Result."""

    existing: bool = False
    result: Result | None = None


class JobList(BaseModel):
    """A page of jobs, the newest first; `next_cursor` is null on the last page, and only there."""

    items: list[JobStatus]
    next_cursor: str | None


class ItemProblem(BaseModel):
    """Why one job of many was refused."""

    code: str
    detail: str
    hint: str | None = None
    retry_after_s: float | None = None
    quota: str | None = None
    bound: float | None = None
    position: int | None = None


class QueuedItem(BaseModel):
    """What became of one job of many: its id, or why it was refused."""

    index: int
    job: str | None = None
    existing: bool = False
    batch: str | None = Field(default=None, description="Of an existing job: the batch that it belongs to.")
    error: ItemProblem | None = None


class BatchAnswer(BatchInfo):
    """How a batch stands, and what became of the jobs of this request."""

    errors: list[ItemError]
    jobs: list[QueuedItem]


class SessionList(BaseModel):
    """A page of live sessions, by name."""

    items: list[SessionInfo]
    next_cursor: str | None


class NewSession(BaseModel):
    """A session to make or find; without a name it gets one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: SessionName | None = None
    profile: ProfileName | None = None
    idle_timeout_s: PositiveSeconds | None = None
    max_age_s: PositiveSeconds | None = None
    must_exist: bool = False


class NewInput(BaseModel):
    """A piece of standard input, or its end. A writer that numbers its pieces from 1 on may repeat one safely."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    text: str | None = None
    base64: str | None = None
    eof: bool = False
    writer: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    n: int | None = Field(default=None, ge=1, le=2**53)

    @model_validator(mode="after")
    def _consistent(self) -> "NewInput":
        if self.text is not None and self.base64 is not None:
            raise ValueError("give text or base64, not both")
        if (self.writer is None) != (self.n is None):
            raise ValueError("writer and n go together")
        return self


class Command(BaseModel):
    """What a WebSocket says to its job; `text` belongs to `stdin` alone."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["stdin", "eof", "cancel"]
    text: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Command":
        if (self.text is not None) != (self.type == "stdin"):
            raise ValueError("text belongs to stdin, and to nothing else")
        return self


class Blob(BaseModel):
    """An upload; `id` is the SHA-256 of its content."""

    id: str
    size_bytes: int


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    tenant: str = Field(pattern=LABEL)
    scopes: list[str] = Field(min_length=1, max_length=16)
    expires_in_s: PositiveSeconds | None = Field(default=None, le=10 * 366 * 86400)


class Issued(BaseModel):
    """A key; `key` is told this once."""

    id: str
    key: str
    tenant: str
    scopes: list[str]
    expires_at: float | None


class KeyInfo(BaseModel):
    """What is known of a key."""

    id: str
    tenant: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    rotated_at: float | None
    revoked_at: float | None


def answer(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A model as the body of a response."""
    return Response(model.model_dump_json(), status, dict(headers or {}), media_type="application/json")


def tag_of(body: bytes) -> str:
    """The ETag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def problems(*statuses: int) -> Documented:
    """The refusals of a route, for the document; 401, 403, 429 and 503 belong to all."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = (*statuses, 401, 403, 429, 503)
    named: Documented = {status: {"description": _MEANINGS[status], "content": content} for status in every}
    named[429]["headers"] = {"Retry-After": _WHOLE, **RATE_HEADERS}
    named[503]["headers"] = {"Retry-After": _WHOLE}
    return dict(sorted(named.items()))


_WHOLE = {"schema": {"type": "integer"}}
RATE_HEADERS = {name: {"description": "Of the rate that leaves the least.", **_WHOLE} for name in HEADERS[:3]}
_MEANINGS = {
    400: "The body is not strict JSON, or a part of a file.",
    401: "No key, or one that is unknown, expired or revoked.",
    403: "The key lacks the scope, or an API without keys was asked from elsewhere.",
    404: "There is none of this name in the key's tenant.",
    408: "The body did not come.",
    409: "Idempotency conflict, closed batch, or a state that does not allow this.",
    410: "The session or the events are gone.",
    413: "The body is too large.",
    415: "The body is not JSON, or not the content of a file itself.",
    422: "A field is wrong; `errors` names it.",
    429: "Queue or quota is full, or the key asked too often; `RateLimit-*` where a rate is the bound.",
    500: "It was not carried out; `code` is the outcome of its job.",
    503: "What is behind the API does not answer: the queue, or a sandbox.",
    504: "The jobs before it take longer than a request may wait, or it took longer than it may.",
    507: "The sandbox has no room or no memory left for it.",
}
BODY = (400, 408, 413, 415, 422)
