"""The blocking client: submit jobs, watch them, take their results."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from leasebox import _artifacts, _sessions, _submit
from leasebox._backend import NONE, Backend, Flow, Reader, Transport
from leasebox._connect import backend_of, transport_of
from leasebox._content import Uploads
from leasebox._flows import JobFilter
from leasebox._input import LiveInput
from leasebox._reads import NodeStatus, QueueStatus
from leasebox._sessions import SessionPlan
from leasebox._stream import Pace
from leasebox._submit import Profile
from leasebox._traced import submitting
from leasebox.batch import ManyJobs
from leasebox.config import ClientSettings, with_given
from leasebox.contract.errors import BrokerUnavailable, StreamExpired
from leasebox.contract.events import Event, Finished
from leasebox.contract.result import JobStatus, Result, SessionInfo
from leasebox.contract.spec import JobSpec
from leasebox.contract.standing import Why
from leasebox.session import Session

if TYPE_CHECKING:
    from leasebox.embedded import Stack

A = TypeVar("A")


class Client(ManyJobs):
    """Talks to one installation; safe to share between threads.

    Args:
        url: redis://, rediss:// or redis+socket://; http(s):// is the API. None: `LEASEBOX_URL`; without that the
            embedded stack, which is started by the first request.
        api_key: For the HTTP API.
        tenant: Whose jobs these are; default `LEASEBOX_TENANT`.
        settings: Instead of reading the environment; the other arguments go before it.

    Raises:
        ConfigError: A setting is malformed. Whether the server answers shows at the first request.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        tenant: str | None = None,
        settings: ClientSettings | None = None,
    ) -> None:
        self.settings = with_given(settings, url=url, api_key=api_key, tenant=tenant)
        self._backend: Backend[Any] = backend_of(self.settings)
        self._stack: Stack | None = None
        self._transport: Transport | None = None
        if self.settings.url is not None:
            self._transport = transport_of(self.settings, self.settings.url)

    def run(
        self,
        code: str | None = None,
        *,
        check: bool = False,
        wait_s: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        **spec: Any,
    ) -> Result:
        """Submit a job and wait for its end.

        Args:
            code: Source of the program; or give `command` or `entry`.
            check: Raise the class of the outcome unless it is `ok`.
            wait_s: Longest wait; the job goes on after it.
            on_event: Called with each event as it comes, `finished` included.
            spec: Fields of JobSpec; files may be str, bytes or Path.

        Raises:
            InvalidSpec: Nothing was queued.
            StreamTimeout: `wait_s` has passed.
            JobFailed: Only with `check`.
        """
        handle = self.submit(code, **spec)
        result = handle._follow(on_event, wait_s)
        return result.raise_for_outcome() if check else result

    def submit(self, code: str | None = None, **spec: Any) -> "JobHandle":
        """Queue a job; returns when Redis has it.

        Raises:
            InvalidSpec: A field is wrong, or the profile does not allow it. Nothing was queued.
            QueueError: The queue did not take it.
        """
        uploads: Uploads = {}
        return self._enqueue(_submit.spec_of(code, spec, self.settings, uploads), None, uploads)

    def submit_spec(self, spec: JobSpec) -> "JobHandle":
        """Queue a job that is a JobSpec already; as `submit`."""
        return self._enqueue(_submit.checked(spec, self.settings), None)

    def _enqueue(self, spec: JobSpec, plan: SessionPlan | None, uploads: Uploads = NONE) -> "JobHandle":
        """Queue a checked spec with what it brings; `plan`: of the Session that it comes from."""
        with self._held():
            accepted = self._run(submitting(self._backend.submit(spec, plan, uploads), session=spec.session))
        return JobHandle(self, accepted.job, existing=accepted.is_existing)

    def job(self, job_id: str) -> "JobHandle":
        """The handle of a job by its id; whether there is one shows at the first request."""
        return JobHandle(self, job_id)

    def jobs(
        self,
        state: str | None = None,
        session: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 50,
    ) -> list[JobStatus]:
        """The tenant's newest jobs that match, newest first; `state` may be a state or an outcome."""
        return self._run(self._backend.jobs(JobFilter(state, session, metadata), limit))

    def session(
        self,
        name: str | None = None,
        *,
        profile: str | None = None,
        idle_timeout_s: float | None = None,
        max_age_s: float | None = None,
        stateful: bool = True,
        must_exist: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Session:
        """Make a session, or find the live one of that name.

        Its jobs run one after the other in one sandbox and share its files, Python code also its variables. As a
        context manager it closes at the end of the block if it was made without a name; a named one lives on.

        Args:
            name: None makes one that nobody else has.
            profile: None = the live session's, else `default`.
            idle_timeout_s: It ends so long after its last use; None = the operator's. One that is found keeps its own.
            max_age_s: It ends, or gets a new sandbox, at this age; None = the operator's.
            stateful: Whether its Python code runs as cells of one kept interpreter; a job may say otherwise.
            must_exist: Find it, never make it.
            env: Environment of each of its jobs.

        Raises:
            InvalidSpec: It lives with another profile, or a time is beyond the operator's bound.
            UnknownProfile: No node serves it.
            SessionExpired: It must exist and does not; says why it ended.
            QuotaExceeded: The tenant has as many sessions as it may.
        """
        wanted = _sessions.plan(
            name, profile=profile, idle_timeout_s=idle_timeout_s, max_age_s=max_age_s, stateful=stateful, env=env
        )
        with self._held():
            found = self._run(self._backend.open_session(wanted, must_exist=must_exist))
        return Session(self, wanted.found(found), closes_at_exit=name is None)

    def sessions(self) -> list[SessionInfo]:
        """The tenant's live sessions, the last used first."""
        return self._run(self._backend.sessions())

    def profiles(self) -> dict[str, Profile]:
        """The profiles that jobs may name; empty before the first node came up."""
        return dict(self._run(self._backend.profiles()))

    def nodes(self) -> list[NodeStatus]:
        """The worker nodes, as they last reported."""
        return self._run(self._backend.nodes())

    def queues(self) -> list[QueueStatus]:
        """How much waits in each class of jobs."""
        return self._run(self._backend.queues())

    def close(self) -> None:
        """Close the connections; the embedded stack stays warm for the next client."""
        if self._transport is not None:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _held(self) -> AbstractContextManager[object]:
        """While a request is on its way, the embedded stack must not stop."""
        if self.settings.url is not None:
            return nullcontext()
        return self._embedded().held()

    def _embedded(self) -> "Stack":
        if self._stack is None:
            from leasebox.embedded import Stack

            self._stack = Stack(self.settings)
        return self._stack

    def _run(self, flow: Flow[A]) -> A:
        if self._transport is None:
            with self._held():
                self._transport = transport_of(self.settings, self._embedded().url)
        return self._transport.run(flow)


class JobHandle(LiveInput):
    """A job that was submitted, by this client or another.

    Attributes:
        id: The job's id.
        existing: An earlier submit with the same idempotency key had made the job.
    """

    def __init__(self, client: Client, job_id: str, *, existing: bool = False) -> None:
        super().__init__(lambda chunk: client._run(client._backend.feed(job_id, chunk)))
        self.id = job_id
        self.existing = existing
        self._client = client

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    def status(self) -> JobStatus:
        """How the job stands.

        Raises:
            UnknownJob: There is no such job (any more) in this tenant.
        """
        return self._client._run(self._client._backend.status(self.id))

    def why(self) -> Why:
        """Where the job stands, what it waits for, and what to do about it; raises as `status` does."""
        return self._client._run(self._client._backend.why(self.id))

    def events(self, after: str | None = None, timeout_s: float | None = None) -> Iterator[Event]:
        """What the job tells, from its beginning or after the event of the given id, up to and including `finished`.

        Args:
            after: Id of the last event that was seen.
            timeout_s: For all of it; None = until the end.

        Raises:
            StreamTimeout: The job goes on.
            StreamExpired: The events are gone; `result()` still answers.
            UnknownJob: There is no such job.
        """
        return self._read(self._client._backend.reader(self.id, after), timeout_s)

    def result(self, timeout_s: float | None = None) -> Result:
        """Wait for the end and give the Result, also after the events are gone.

        Raises:
            StreamTimeout: The job goes on.
            UnknownJob: There is no such job.
        """
        found = self._client._run(self._kept())
        return self._marked(found) if found is not None else self._follow(None, timeout_s)

    def cancel(self, wait_s: float | None = None) -> JobStatus:
        """Ask for the job's end and give its status; a finished job stays as it is.

        Args:
            wait_s: Wait so long for its processes to be gone; None = do not wait.

        Raises:
            StreamTimeout: It has not ended within `wait_s`; the request stands.
            UnknownJob: There is no such job.
        """
        client = self._client
        has_ended = client._run(client._backend.cancel(self.id))
        if not has_ended and wait_s is not None:
            self.result(wait_s)
        return self.status()

    def artifact(self, path: str) -> bytes:
        """The content of a file that the job left and that its `artifacts` name; waits for the end.

        Raises:
            FileError: It is none of them, or no longer kept.
        """
        found = _artifacts.named(self.result(), path)
        return self._client._run(self._client._backend.content(self.id, found))

    def _follow(self, on_event: Callable[[Event], object] | None, timeout_s: float | None) -> Result:
        backend = self._client._backend
        reader = backend.end_reader(self.id) if on_event is None else backend.reader(self.id, None)
        try:
            for event in self._read(reader, timeout_s):
                if on_event is not None:
                    on_event(event)
                if isinstance(event, Finished):
                    return event.result
        except StreamExpired:
            found = self._client._run(self._kept())
            if found is not None:
                return self._marked(found)
            raise
        raise StreamExpired(f"the events of job {self.id} ended early")

    def _read(self, reader: Reader, timeout_s: float | None) -> Iterator[Event]:
        client, backend = self._client, self._client._backend
        pace = Pace(time.monotonic(), timeout_s, backend.max_block_s)
        try:
            while not reader.is_done:
                block_s = pace.block_s(time.monotonic(), f"job {self.id}")
                try:
                    found = client._run(backend.next_events(reader, block_s))
                except BrokerUnavailable as exc:
                    time.sleep(pace.pause_s(time.monotonic(), exc))
                    continue
                pace.answered()
                for event in found:
                    yield self._told(event)
        finally:
            client._run(backend.release(reader))

    def _told(self, event: Event) -> Event:
        return Finished(event.id, event.at, self._marked(event.result)) if isinstance(event, Finished) else event

    def _kept(self) -> Flow[Result | None]:
        return self._client._backend.result(self.id)

    def _marked(self, result: Result) -> Result:
        return result.model_copy(update={"existing": True}) if self.existing else result
