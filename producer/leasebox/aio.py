"""The client for asyncio: the twin of `client.py`, with the same names, awaited."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from leasebox import _flows, _submit
from leasebox._flows import JobFilter
from leasebox._message import template
from leasebox._reads import NodeStatus, QueueStatus
from leasebox._redis import MAX_BLOCK_S, AsyncRedisTransport, Flow
from leasebox._stream import EventReader, Pace
from leasebox._submit import Profile
from leasebox.config import ClientSettings, with_given
from leasebox.contract.errors import BrokerUnavailable, StreamExpired
from leasebox.contract.events import Event, Finished
from leasebox.contract.keys import Keys
from leasebox.contract.result import JobStatus, Result
from leasebox.contract.spec import JobSpec

if TYPE_CHECKING:
    from leasebox.embedded import Stack

A = TypeVar("A")
PROFILES_FRESH_S = 10.0


class AsyncClient:
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
        self._keys = Keys(self.settings.prefix)
        self._stack: Stack | None = None
        self._transport: AsyncRedisTransport | None = None
        self._profiles: dict[str, Profile] = {}
        self._profiles_until = 0.0
        if self.settings.url is not None:
            self._transport = AsyncRedisTransport(self.settings.url)

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
        # Files are read from disk here.
        return await self.submit_spec(await asyncio.to_thread(_submit.spec_of, code, spec, self.settings))

    async def submit_spec(self, spec: JobSpec) -> "AsyncJobHandle":
        """Queue a job that is a JobSpec already; as `submit`."""
        _submit.checked(spec, self.settings)
        async with self._held():
            _submit.check_profile(spec, await self._fresh_profiles())
            record = _submit.record(spec, self.settings, template(self.settings.home / "cache"))
            accepted = await self._run(_flows.submit(self._keys, record))
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
        wanted = JobFilter(state, session, metadata)
        return await self._run(_flows.jobs(self._keys, self.settings.tenant, wanted, limit))

    async def profiles(self) -> dict[str, Profile]:
        """The profiles that jobs may name; empty before the first node came up."""
        self._profiles = await self._run(_flows.profiles(self._keys))
        self._profiles_until = time.monotonic() + PROFILES_FRESH_S
        return dict(self._profiles)

    async def nodes(self) -> list[NodeStatus]:
        """The worker nodes, as they last reported."""
        return await self._run(_flows.nodes(self._keys))

    async def queues(self) -> list[QueueStatus]:
        """How much waits in each class of jobs."""
        return await self._run(_flows.queues(self._keys))

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

    async def _fresh_profiles(self) -> dict[str, Profile]:
        if time.monotonic() >= self._profiles_until:
            await self.profiles()
        return self._profiles

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
                self._transport = self._transport or AsyncRedisTransport(self._embedded().url)
        return await self._transport.run(flow)


class AsyncJobHandle:
    """A job that was submitted, by this client or another.

    Attributes:
        id: The job's id.
        existing: An earlier submit with the same idempotency key had made the job.
    """

    def __init__(self, client: AsyncClient, job_id: str, *, existing: bool = False) -> None:
        self.id = job_id
        self.existing = existing
        self._client = client

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id!r})"

    async def status(self) -> JobStatus:
        """How the job stands. As `JobHandle.status`."""
        return await self._client._run(_flows.status(self._client._keys, self._client.settings.tenant, self.id))

    def events(self, after: str | None = None, timeout_s: float | None = None) -> AsyncIterator[Event]:
        """What the job tells, from its beginning or after an event, to `finished`. As `JobHandle.events`."""
        return self._read(EventReader(self.id, after), timeout_s)

    async def result(self, timeout_s: float | None = None) -> Result:
        """Wait for the end and give the Result. As `JobHandle.result`."""
        found = await self._client._run(self._kept())
        return self._marked(found) if found is not None else await self._follow(None, timeout_s)

    async def cancel(self, wait_s: float | None = None) -> JobStatus:
        """Ask for the job's end and give its status. As `JobHandle.cancel`."""
        client = self._client
        has_ended = await client._run(_flows.cancel(client._keys, client.settings.tenant, self.id))
        if not has_ended and wait_s is not None:
            await self.result(wait_s)
        return await self.status()

    async def _follow(self, on_event: Callable[[Event], object] | None, timeout_s: float | None) -> Result:
        reader = EventReader.for_result(self.id) if on_event is None else EventReader(self.id)
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

    async def _read(self, reader: EventReader, timeout_s: float | None) -> AsyncIterator[Event]:
        client = self._client
        pace = Pace(time.monotonic(), timeout_s, MAX_BLOCK_S)
        while not reader.is_done:
            block_s = pace.block_s(time.monotonic(), self.id)
            try:
                found = await client._run(_flows.next_events(client._keys, client.settings.tenant, reader, block_s))
            except BrokerUnavailable as exc:
                await asyncio.sleep(pace.pause_s(time.monotonic(), exc))
                continue
            pace.answered()
            for event in found:
                yield Finished(event.id, event.at, self._marked(event.result)) if isinstance(event, Finished) else event

    def _kept(self) -> Flow[Result | None]:
        return _flows.result(self._client._keys, self._client.settings.tenant, self.id)

    def _marked(self, result: Result) -> Result:
        return result.model_copy(update={"existing": True}) if self.existing else result
