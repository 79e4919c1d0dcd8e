"""How is each request of a client asked of the HTTP API? Requests, what their answers mean, and a reader of a stream.

Everything here may be sent twice: a submit carries an idempotency key, its own or one that is made for it, as does an
operation on files.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from leasebox._backend import NONE, Flow
from leasebox._content import Source, Uploads
from leasebox._event_json import event_of
from leasebox._flows import JobFilter, Submitted
from leasebox._ids import new_job_id
from leasebox._input import InputChunk
from leasebox._overview import MAX_JOBS, MAX_SESSIONS, Overview
from leasebox._reads import NodeStatus, QueueStatus
from leasebox._sessions import SessionPlan
from leasebox._stream import checked_cursor
from leasebox._submit import Profile, parse_profile
from leasebox.config import ClientSettings
from leasebox.contract.errors import BrokerUnavailable, ConfigError
from leasebox.contract.events import Event, Finished
from leasebox.contract.files import FileOperation, operation_json
from leasebox.contract.metrics import SessionMetrics
from leasebox.contract.result import Artifact, JobStatus, Result, SessionInfo, State
from leasebox.contract.spec import JobSpec
from leasebox.contract.standing import Why

A = TypeVar("A")
MAX_WAIT_S = 25.0
"""Longest `?wait=`; below what proxies commonly allow a silent answer."""
PAGE = 200
RAW_S = 120.0
"""For the answer to a content of up to 100 MiB, or for its beginning."""


@dataclass(frozen=True, slots=True)
class Request(Generic[A]):
    """One request, and what the body of its answer means; 2xx alone gets so far.

    Attributes:
        parse: Of the JSON, None for `null` and for no body. Whatever but our errors it raises, for want of a field or
            for a wrong one, means that this is no answer of the API.
        content: A body of any bytes in place of JSON.
        is_raw: `parse` takes the bytes of the answer.
    """

    method: str
    path: str
    parse: Callable[[Any], A]
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    content: Source | None = None
    is_raw: bool = False


class Stream(Protocol):
    """An open answer, of whichever world."""


class EventStream:
    """Reads a job's events from an answer of Server-Sent Events, and goes on with a new answer where one broke off.

    Attributes:
        cursor: Id of the last event that was given; the next answer begins behind it.
        open: The answer that is being read; the transport's.
        opened_for_s: Longest silence that it was opened for.
    """

    def __init__(self, job: str, after: str | None) -> None:
        self.job = job
        self.path = f"{_job_path(job)}/events"
        self.cursor = checked_cursor(after) if after is not None else None
        self.is_done = False
        self.open: Stream | None = None
        self.opened_for_s = 0.0
        self._id = ""
        self._data: list[str] = []

    def begin(self) -> Request[None]:
        """The request for an answer that begins behind the cursor."""
        self._id, self._data = "", []
        headers = {"Accept": "text/event-stream"}
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        return Request("GET", self.path, _nothing, headers=headers)

    def read(self, data: Mapping[str, Any]) -> Any:
        """The event that its JSON means; None for one that only a newer version knows."""
        return event_of(data)

    def feed(self, line: str) -> Any:
        """Take a line; gives the event that it completes.

        Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".
        """
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "id":
                self._id = value
            return None
        if not self._data:
            return None
        text, self._data = "\n".join(self._data), []
        self.cursor = self._id
        event = self.read({**json.loads(text), "id": self._id})
        self.is_done = event is not None and event.type == Finished.type
        return event


@dataclass(slots=True)
class EndReader:
    """Waits for the end of a job alone, without its output."""

    job: str
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """Step: the next events of a stream; empty after a sign of life, or `block_s` without one."""

    stream: EventStream
    block_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """Step: close what the stream has open."""

    stream: EventStream


class HttpBackend:
    """`Backend` over the routes of CONTRACT.md section 6.

    Raises:
        ConfigError: A tenant was given: over HTTP the key says whose jobs these are.
    """

    # Longer than the API's heartbeat, so that a silent job does not look like a dead connection.
    max_block_s = 40.0

    def __init__(self, settings: ClientSettings) -> None:
        if settings.tenant != "default":
            raise ConfigError(
                f"LEASEBOX_TENANT: {settings.tenant!r} cannot be asked of the HTTP API", hint="the key names the tenant"
            )

    def operate(self, operation: FileOperation, plan: SessionPlan, uploads: Uploads) -> Flow[Submitted]:
        """POST what it brings, then the operation, with a key: one whose answer was lost is not carried out again."""
        yield from upload(uploads)
        query = {"profile": plan.profile, **_times(plan)} if plan.profile is not None else _times(plan)
        body = json.loads(operation_json(operation))
        headers = {"Idempotency-Key": _made_key()}
        path = f"{_session_path(plan.name)}/files"
        job = yield Request("POST", path, answered, query=query, body=body, headers=headers)
        return Submitted(job["id"], False)

    def content(self, job: str, artifact: Artifact) -> Flow[bytes]:
        """GET."""
        path = f"{_job_path(job)}/artifacts/{quote(artifact.path)}"

        def _whole(data: bytes) -> bytes:
            if len(data) != artifact.size_bytes:
                raise BrokerUnavailable(f"{artifact.path}: {len(data)} of {artifact.size_bytes} bytes came")
            return data

        return (yield Request("GET", path, _whole, is_raw=True, wait_s=RAW_S))  # type: ignore[no-any-return]

    def submit(self, spec: JobSpec, plan: SessionPlan | None, uploads: Uploads = NONE) -> Flow[Submitted]:
        """A repeat of a submit whose answer was lost is no earlier submit, unless the caller gave the key."""
        yield from upload(uploads)
        body = spec.model_dump(mode="json", exclude_defaults=True)
        is_made = "idempotency_key" not in body
        if is_made:
            body["idempotency_key"] = _made_key()
        path, query = "/v1/jobs", {}
        if plan is not None:
            path = f"{_session_path(plan.name)}/jobs"
            query = _times(plan)
        job = yield Request("POST", path, answered, query=query, body=body)
        return Submitted(job["id"], job["existing"] and not is_made)

    def status(self, job: str) -> Flow[JobStatus]:
        """GET the job."""
        return (yield Request("GET", _job_path(job), JobStatus.model_validate))  # type: ignore[no-any-return]

    def why(self, job: str) -> Flow[Why]:
        """GET."""
        return (yield Request("GET", f"{_job_path(job)}/why", Why.model_validate))  # type: ignore[no-any-return]

    def result(self, job: str) -> Flow[Result | None]:
        """GET the job, with its Result if it has ended."""
        return (yield Request("GET", _job_path(job), _result_of))  # type: ignore[no-any-return]

    def cancel(self, job: str) -> Flow[bool]:
        """POST."""
        status: JobStatus = yield Request("POST", f"{_job_path(job)}/cancel", JobStatus.model_validate)
        return status.state is State.FINISHED

    def feed(self, job: str, chunk: InputChunk) -> Flow[None]:
        """POST; the chunk's number makes a repeat harmless."""
        data = base64.b64encode(chunk.data).decode()
        body = {"base64": data, "eof": chunk.is_end, "writer": chunk.writer, "n": chunk.n}
        yield Request("POST", f"{_job_path(job)}/stdin", _nothing, body=body)

    def reader(self, job: str, after: str | None) -> EventStream:
        """A stream that is opened by its first read."""
        return EventStream(job, after)

    def end_reader(self, job: str) -> EndReader:
        """A waiter."""
        return EndReader(job)

    def next_events(self, reader: EventStream | EndReader, block_s: float) -> Flow[Sequence[Event]]:
        """Read on in the stream, or wait for the job."""
        if isinstance(reader, EventStream):
            return (yield Listen(reader, block_s))  # type: ignore[no-any-return]
        wait_s = min(block_s, MAX_WAIT_S)
        query = {"wait": f"{wait_s:.3f}"}
        result: Result | None = yield Request("GET", _job_path(reader.job), _result_of, query=query, wait_s=wait_s)
        if result is None:
            return []
        reader.is_done = True
        return [Finished("", 0.0, result)]

    def release(self, reader: EventStream | EndReader) -> Flow[None]:
        """Close the stream."""
        if isinstance(reader, EventStream):
            yield Release(reader)

    def jobs(self, wanted: JobFilter, limit: int) -> Flow[list[JobStatus]]:
        """GET pages until there are enough."""
        query = {"state": wanted.state, "session": wanted.session}
        given = {name: value for name, value in query.items() if value is not None}
        given |= {f"metadata.{name}": value for name, value in (wanted.metadata or {}).items()}
        found: list[JobStatus] = []
        while len(found) < limit:
            asked = {**given, "limit": str(min(PAGE, limit - len(found)))}
            page = yield Request("GET", "/v1/jobs", answered, query=asked)
            found += [JobStatus.model_validate(item) for item in page["items"]]
            if page["next_cursor"] is None:
                break
            given["cursor"] = page["next_cursor"]
        return found

    def open_session(self, wanted: SessionPlan, *, must_exist: bool) -> Flow[SessionInfo]:
        """POST; the plan always has a name, so a repeat finds what the first has made."""
        given = {
            "name": wanted.name,
            "profile": wanted.profile,
            "idle_timeout_s": wanted.idle_timeout_s,
            "max_age_s": wanted.max_age_s,
        }
        body = {name: value for name, value in given.items() if value is not None} | {"must_exist": must_exist}
        return (yield Request("POST", "/v1/sessions", SessionInfo.model_validate, body=body))  # type: ignore[no-any-return]

    def sessions(self) -> Flow[list[SessionInfo]]:
        """GET pages to the end."""
        found: list[SessionInfo] = []
        query = {"limit": str(PAGE)}
        while True:
            page = yield Request("GET", "/v1/sessions", answered, query=query)
            found += [SessionInfo.model_validate(item) for item in page["items"]]
            if page["next_cursor"] is None:
                return sorted(found, key=lambda session: (-session.used_at, session.name))
            query = {"limit": str(PAGE), "cursor": page["next_cursor"]}

    def session(self, name: str) -> Flow[SessionInfo]:
        """GET."""
        return (yield Request("GET", _session_path(name), SessionInfo.model_validate))  # type: ignore[no-any-return]

    def metrics(self, name: str) -> Flow[SessionMetrics]:
        """GET."""
        path = f"{_session_path(name)}/metrics"
        return (yield Request("GET", path, SessionMetrics.model_validate))  # type: ignore[no-any-return]

    def touch(self, name: str) -> Flow[float]:
        """POST."""
        return (yield Request("POST", f"{_session_path(name)}/touch", lambda data: float(data["expires_at"])))  # type: ignore[no-any-return]

    def close_session(self, name: str) -> Flow[SessionInfo]:
        """DELETE."""
        return (yield Request("DELETE", _session_path(name), SessionInfo.model_validate))  # type: ignore[no-any-return]

    def profiles(self) -> Flow[Mapping[str, Profile]]:
        """GET."""
        listed = yield Request("GET", "/v1/profiles", answered)
        return {data["name"]: parse_profile(data["name"], json.dumps(_without(data, "name"))) for data in listed}

    def nodes(self) -> Flow[list[NodeStatus]]:
        """GET."""
        listed = yield Request("GET", "/v1/nodes", answered)
        own = ("name", "state", "silent_s", "heartbeat")
        return [NodeStatus(data["name"], data["heartbeat"], data["silent_s"], _without(data, *own)) for data in listed]

    def queues(self) -> Flow[list[QueueStatus]]:
        """GET."""
        return [QueueStatus(**data) for data in (yield Request("GET", "/v1/queues", answered))]

    def overview(self, *, has_sessions: bool) -> Flow[Overview]:
        """GET each; of sessions the first page, by name."""
        queues, nodes = (yield from self.queues()), (yield from self.nodes())
        jobs = yield from self.jobs(JobFilter(), MAX_JOBS)
        if not has_sessions:
            return Overview(time.time(), queues, nodes, jobs, None)
        page = yield Request("GET", "/v1/sessions", answered, query={"limit": str(MAX_SESSIONS)})
        sessions = [SessionInfo.model_validate(item) for item in page["items"]]
        live = len(sessions) if page["next_cursor"] is None else None
        return Overview(time.time(), queues, nodes, jobs, sessions, live)


def upload(uploads: Uploads) -> Flow[None]:
    """POST each content that a request brings."""
    for source in uploads.values():
        yield Request("POST", "/v1/blobs", answered, content=source, wait_s=RAW_S)


def answered(data: Any) -> Any:
    """The object or list that an answer is.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(data, dict | list):
        raise ValueError("neither object nor list")
    return data


def _made_key() -> str:
    return f"sdk-{new_job_id()}"


def _times(plan: SessionPlan) -> dict[str, str]:
    given = {"idle_timeout_s": plan.idle_timeout_s, "max_age_s": plan.max_age_s}
    return {name: repr(value) for name, value in given.items() if value is not None}


def _job_path(job: str) -> str:
    return f"/v1/jobs/{quote(job, safe='')}"


def _session_path(name: str) -> str:
    return f"/v1/sessions/{quote(name, safe='')}"


def _nothing(data: Any) -> None:
    if data is not None:
        raise ValueError("there is something")


def _result_of(data: Any) -> Result | None:
    found = data["result"]
    return None if found is None else Result.model_validate(found)


def _without(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def unreachable(url: str, why: str) -> BrokerUnavailable:
    """The error for an API that does not answer."""
    return BrokerUnavailable(f"cannot reach the API at {url}: {why}", hint="is it running, and is LEASEBOX_URL right?")
