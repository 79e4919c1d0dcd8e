"""The session for asyncio: the twin of `session.py`, with the same names, awaited."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from leasebox import _sessions, _submit
from leasebox._content import Uploads
from leasebox._sessions import SessionPlan
from leasebox.aio_files import AsyncFiles
from leasebox.commands import AsyncCommands
from leasebox.contract.events import Event
from leasebox.contract.metrics import SessionMetrics
from leasebox.contract.result import Result, SessionInfo, Variable

if TYPE_CHECKING:
    from leasebox.aio import AsyncClient, AsyncJobHandle


class AsyncSession:
    """Jobs that run one after the other in one sandbox and share its files; made by `AsyncClient.session`.

    After its end (`info().close_reason`) a further job begins it anew: its files are gone, and a
    `session_restarted` event says so.

    Attributes:
        name: Under which any client of the tenant finds it.
        commands: Runs commands in its sandbox.
        files: What is in its workspace.
    """

    def __init__(self, client: "AsyncClient", plan: SessionPlan, *, closes_at_exit: bool = False) -> None:
        self.name = plan.name
        self.commands: AsyncCommands[AsyncJobHandle] = AsyncCommands(self)
        self._client = client
        self._plan = plan
        self.files = AsyncFiles(client, plan)
        self._closes_at_exit = closes_at_exit

    def __repr__(self) -> str:
        return f"AsyncSession({self.name!r})"

    async def run(
        self,
        code: str | None = None,
        *,
        check: bool = False,
        wait_s: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        stateful: bool | None = None,
        **spec: Any,
    ) -> Result:
        """Submit a job of this session and wait for its end. As `AsyncClient.run`."""
        handle = await self.submit(code, stateful=stateful, **spec)
        result = await handle._follow(on_event, wait_s)
        return result.raise_for_outcome() if check else result

    async def submit(self, code: str | None = None, *, stateful: bool | None = None, **spec: Any) -> "AsyncJobHandle":
        """Queue a job of this session. As `AsyncClient.submit`."""
        fields = self._plan.spec(code, {**spec, "stateful": stateful})
        settings = self._client.settings
        uploads: Uploads = {}
        made = await asyncio.to_thread(_submit.spec_of, code, fields, settings, uploads)
        return await self._client._enqueue(made, self._plan, uploads)

    async def variables(self) -> list[Variable]:
        """What its interpreter holds; asking starts one if there is none."""
        return _sessions.variables_of(await self.run("%variables", stateful=True, check=True))

    async def restart(self) -> None:
        """Forget the variables of its interpreter; its files stay."""
        await self.run("%restart", stateful=True, check=True)

    async def info(self) -> SessionInfo:
        """How it stands, also for a day after its end.

        Raises:
            UnknownSession: Its record is gone.
        """
        return await self._client._run(self._client._backend.session(self.name))

    async def metrics(self) -> SessionMetrics:
        """What its sandbox uses now, and how well it is. As `Session.metrics`."""
        return await self._client._run(self._client._backend.metrics(self.name))

    async def touch(self) -> float:
        """Start its idle time anew; when it ends (unix seconds) if nothing else happens.

        Raises:
            SessionExpired: It has ended; says why.
        """
        return await self._client._run(self._client._backend.touch(self.name))

    async def close(self) -> SessionInfo:
        """End it: queued jobs are cancelled, a running one is asked to end and completes the close.

        A session that has ended stays as it is.
        """
        return await self._client._run(self._client._backend.close_session(self.name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closes_at_exit:
            await self.close()
