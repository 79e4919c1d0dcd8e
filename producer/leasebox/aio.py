"""The client for asyncio: the twin of `client.py`, with the same names, awaited."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from leasebox import _artifacts, _sessions, _submit
from leasebox._backend import NONE, AsyncTransport, Backend, Flow, Reader
from leasebox._connect import async_transport_of, backend_of
from leasebox._content import Uploads
from leasebox._flows import JobFilter
from leasebox._input import AsyncLiveInput
from leasebox._reads import NodeStatus, QueueStatus
from leasebox._sessions import SessionPlan
from leasebox._stream import Pace
from leasebox._submit import Profile
from leasebox._traced import submitting
from leasebox.aio_batch import AsyncManyJobs
from leasebox.aio_session import AsyncSession
from leasebox.config import ClientSettings, with_given
from leasebox.contract.errors import BrokerUnavailable, StreamExpired
from leasebox.contract.events import Event, Finished
from leasebox.contract.result import JobStatus, Result, SessionInfo
from leasebox.contract.spec import JobSpec
from leasebox.contract.standing import Why

if TYPE_CHECKING:
    from leasebox.embedded import Stack

A = TypeVar("A")


class AsyncClient(AsyncManyJobs):
    """`Client` for one event loop; arguments and errors are the same."""

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
        self._transport: AsyncTransport | None = None
        if self.settings.url is not None:
            self._transport = async_transport_of(self.settings, self.settings.url)

    async def run(
        self,
        code: str | None = None,
        *,
        check: bool = False,
        wait_s: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        **spec: Any,
    ) -> Result:
        """Submit a job and wait for its end; `on_event` may be a coroutine function. As `Client.run`."""
        handle = await self.submit(code, **spec)
        result = await handle._follow(on_event, wait_s)
        return result.raise_for_outcome() if check else result

    async def submit(self, code: str | None = None, **spec: Any) -> "AsyncJobHandle":
        """Queue a job; returns when Redis has it. As `Client.submit`."""
        uploads: Uploads = {}
        # Files are read from disk here.
        made = await asyncio.to_thread(_submit.spec_of, code, spec, self.settings, uploads)
        return await self._enqueue(made, None, uploads)

    async def submit_spec(self, spec: JobSpec) -> "AsyncJobHandle":
        """Queue a job that is a JobSpec already; as `submit`."""
        return await self._enqueue(_submit.checked(spec, self.settings), None)

    async def _enqueue(self, spec: JobSpec, plan: SessionPlan | None, uploads: Uploads = NONE) -> "AsyncJobHandle":
        """Queue a checked spec with what it brings; `plan`: of the Session that it comes from."""
        async with self._held():
            accepted = await self._run(submitting(self._backend.submit(spec, plan, uploads), session=spec.session))
        return AsyncJobHandle(self, accepted.job, existing=accepted.is_existing)

    def job(self, job_id: str) -> "AsyncJobHandle":
        """The handle of a job by its id; whether there is one shows at the first request."""
        return AsyncJobHandle(self, job_id)

    async def jobs(
        self,
        state: str | None = None,
        session: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 50,
    ) -> list[JobStatus]:
        """The tenant's newest jobs that match, newest first; `state` may be a state or an outcome."""
        return await self._run(self._backend.jobs(JobFilter(state, session, metadata), limit))

    async def session(
        self,
        name: str | None = None,
        *,
        profile: str | None = None,
        idle_timeout_s: float | None = None,
        max_age_s: float | None = None,
        stateful: bool = True,
        must_exist: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> AsyncSession:
        """Make a session, or find the live one of that name. As `Client.session`."""
        wanted = _sessions.plan(
            name, profile=profile, idle_timeout_s=idle_timeout_s, max_age_s=max_age_s, stateful=stateful, env=env
        )
        async with self._held():
            found = await self._run(self._backend.open_session(wanted, must_exist=must_exist))
        return AsyncSession(self, wanted.found(found), closes_at_exit=name is None)

    async def sessions(self) -> list[SessionInfo]:
        """The tenant's live sessions, the last used first."""
        return await self._run(self._backend.sessions())

    async def profiles(self) -> dict[str, Profile]:
        """The profiles that jobs may name; empty before the first node came up."""
        return dict(await self._run(self._backend.profiles()))

    async def nodes(self) -> list[NodeStatus]:
        """The worker nodes, as they last reported."""
        return await self._run(self._backend.nodes())

    async def queues(self) -> list[QueueStatus]:
        """How much waits in each class of jobs."""
        return await self._run(self._backend.queues())

    async def close(self) -> None:
        """Close the connections; the embedded stack stays warm for the next client."""
        if self._transport is not None:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """While a request is on its way, the embedded stack must not stop."""
        if self.settings.url is not None:
            yield
            return
        hold = await asyncio.to_thread(self._embedded().hold)
        try:
            yield
        finally:
            hold.release()

    def _embedded(self) -> "Stack":
        if self._stack is None:
            from leasebox.embedded import Stack

            self._stack = Stack(self.settings)
        return self._stack

    async def _run(self, flow: Flow[A]) -> A:
        if self._transport is None:
            async with self._held():
                self._transport = self._transport or async_transport_of(self.settings, self._embedded().url)
        return await self._transport.run(flow)


class AsyncJobHandle(AsyncLiveInput):
    """A job that was submitted, by this client or another.

    Attributes:
        id: The job's id.
        existing: An earlier submit with the same idempotency key had made the job.
    """

    def __init__(self, client: AsyncClient, job_id: str, *, existing: bool = False) -> None:
        super().__init__(lambda chunk: client._run(client._backend.feed(job_id, chunk)))
        self.id = job_id
        self.existing = existing
        self._client = client

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id!r})"

    async def status(self) -> JobStatus:
        """How the job stands. As `JobHandle.status`."""
        return await self._client._run(self._client._backend.status(self.id))

    async def why(self) -> Why:
        """Where the job stands, what it waits for, and what to do about it. As `JobHandle.why`."""
        return await self._client._run(self._client._backend.why(self.id))

    def events(self, after: str | None = None, timeout_s: float | None = None) -> AsyncIterator[Event]:
        """What the job tells, from its beginning or after an event, to `finished`. As `JobHandle.events`."""
        return self._read(self._client._backend.reader(self.id, after), timeout_s)

    async def result(self, timeout_s: float | None = None) -> Result:
        """Wait for the end and give the Result. As `JobHandle.result`."""
        found = await self._client._run(self._kept())
        return self._marked(found) if found is not None else await self._follow(None, timeout_s)

    async def cancel(self, wait_s: float | None = None) -> JobStatus:
        """Ask for the job's end and give its status. As `JobHandle.cancel`."""
        client = self._client
        has_ended = await client._run(client._backend.cancel(self.id))
        if not has_ended and wait_s is not None:
            await self.result(wait_s)
        return await self.status()

    async def artifact(self, path: str) -> bytes:
        """The content of a file that the job left. As `JobHandle.artifact`."""
        found = _artifacts.named(await self.result(), path)
        return await self._client._run(self._client._backend.content(self.id, found))

    async def _follow(self, on_event: Callable[[Event], object] | None, timeout_s: float | None) -> Result:
        backend = self._client._backend
        reader = backend.end_reader(self.id) if on_event is None else backend.reader(self.id, None)
        try:
            async for event in self._read(reader, timeout_s):
                told = on_event(event) if on_event is not None else None
                if inspect.isawaitable(told):
                    await told
                if isinstance(event, Finished):
                    return event.result
        except StreamExpired:
            found = await self._client._run(self._kept())
            if found is not None:
                return self._marked(found)
            raise
        raise StreamExpired(f"the events of job {self.id} ended early")

    async def _read(self, reader: Reader, timeout_s: float | None) -> AsyncIterator[Event]:
        client, backend = self._client, self._client._backend
        pace = Pace(time.monotonic(), timeout_s, backend.max_block_s)
        try:
            while not reader.is_done:
                block_s = pace.block_s(time.monotonic(), f"job {self.id}")
                try:
                    found = await client._run(backend.next_events(reader, block_s))
                except BrokerUnavailable as exc:
                    await asyncio.sleep(pace.pause_s(time.monotonic(), exc))
                    continue
                pace.answered()
                for event in found:
                    yield self._told(event)
        finally:
            await client._run(backend.release(reader))

    def _told(self, event: Event) -> Event:
        return Finished(event.id, event.at, self._marked(event.result)) if isinstance(event, Finished) else event

    def _kept(self) -> Flow[Result | None]:
        return self._client._backend.result(self.id)

    def _marked(self, result: Result) -> Result:
        return result.model_copy(update={"existing": True}) if self.existing else result
