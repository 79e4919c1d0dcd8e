"""What can be done with a session? A client makes them; `aio_session.py` is the twin."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from leasebox import _sessions, _submit
from leasebox._content import Uploads
from leasebox._sessions import SessionPlan
from leasebox.commands import Commands
from leasebox.contract.events import Event
from leasebox.contract.metrics import SessionMetrics
from leasebox.contract.result import Result, SessionInfo, Variable
from leasebox.files import Files

if TYPE_CHECKING:
    from leasebox.client import Client, JobHandle


class Session:
    """Jobs that run one after the other in one sandbox and share its files; made by `Client.session`.

    After its end (`info().close_reason`) a further job begins it anew: its files are gone, and a
    `session_restarted` event says so.

    Attributes:
        name: Under which any client of the tenant finds it.
        commands: Runs commands in its sandbox.
        files: What is in its workspace.
    """

    def __init__(self, client: "Client", plan: SessionPlan, *, closes_at_exit: bool = False) -> None:
        self.name = plan.name
        self.commands: Commands[JobHandle] = Commands(self)
        self._client = client
        self._plan = plan
        self.files = Files(client, plan)
        self._closes_at_exit = closes_at_exit

    def __repr__(self) -> str:
        return f"Session({self.name!r})"

    def run(
        self,
        code: str | None = None,
        *,
        check: bool = False,
        wait_s: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        stateful: bool | None = None,
        **spec: Any,
    ) -> Result:
        """Submit a job of this session and wait for its end. As `Client.run`."""
        handle = self.submit(code, stateful=stateful, **spec)
        result = handle._follow(on_event, wait_s)
        return result.raise_for_outcome() if check else result

    def submit(self, code: str | None = None, *, stateful: bool | None = None, **spec: Any) -> "JobHandle":
        """Queue a job of this session. As `Client.submit`."""
        fields = self._plan.spec(code, {**spec, "stateful": stateful})
        settings = self._client.settings
        uploads: Uploads = {}
        made = _submit.spec_of(code, fields, settings, uploads)
        return self._client._enqueue(made, self._plan, uploads)

    def variables(self) -> list[Variable]:
        """What its interpreter holds; asking starts one if there is none."""
        return _sessions.variables_of(self.run("%variables", stateful=True, check=True))

    def restart(self) -> None:
        """Forget the variables of its interpreter; its files stay."""
        self.run("%restart", stateful=True, check=True)

    def info(self) -> SessionInfo:
        """How it stands, also for a day after its end.

        Raises:
            UnknownSession: Its record is gone.
        """
        return self._client._run(self._client._backend.session(self.name))

    def metrics(self) -> SessionMetrics:
        """What its sandbox uses now, and how well it is; asking is no activity, and disturbs no job.

        Raises:
            UnknownSession: Its record is gone.
        """
        return self._client._run(self._client._backend.metrics(self.name))

    def touch(self) -> float:
        """Start its idle time anew; when it ends (unix seconds) if nothing else happens.

        Raises:
            SessionExpired: It has ended; says why.
        """
        return self._client._run(self._client._backend.touch(self.name))

    def close(self) -> SessionInfo:
        """End it: queued jobs are cancelled, a running one is asked to end and completes the close.

        A session that has ended stays as it is.
        """
        return self._client._run(self._client._backend.close_session(self.name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closes_at_exit:
            self.close()
