"""Which requests does a client make, whatever carries them? The interface that Redis and the HTTP API both serve.

A backend turns a request into a flow, a generator that yields what it wants to know and is sent the answer; a transport
of the same kind carries flows out, blocking or with `await`. So each request is written once for each kind.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from leasebox._batches import Answer, Item
from leasebox._content import Uploads
from leasebox._flows import JobFilter, Submitted
from leasebox._input import InputChunk
from leasebox._overview import Overview
from leasebox._reads import NodeStatus, QueueStatus
from leasebox._sessions import SessionPlan
from leasebox._submit import Profile
from leasebox.contract.batches import BatchEvent, BatchInfo
from leasebox.contract.events import Event
from leasebox.contract.files import FileOperation
from leasebox.contract.metrics import SessionMetrics
from leasebox.contract.result import Artifact, JobStatus, Result, SessionInfo
from leasebox.contract.spec import JobSpec
from leasebox.contract.standing import Why

A = TypeVar("A")
R = TypeVar("R")
Flow = Generator[Any, Any, A]
NONE: Uploads = {}
"""Of a request that brings nothing; never written to."""


class Reader(Protocol):
    """Where the reading of a job's events stands; `is_done` once `finished` was given."""

    @property
    def is_done(self) -> bool:
        """Whether `finished` was given."""


class Backend(Protocol[R]):
    """What can be asked; each answer is a flow for the transport of the same kind. Errors are those of the clients.

    Attributes:
        max_block_s: Longest wait that `next_events` may be asked for.
    """

    max_block_s: float

    def submit(self, spec: JobSpec, plan: SessionPlan | None, uploads: Uploads = NONE) -> Flow[Submitted]:
        """Hand a checked spec in, with what it brings; `plan`: of the session that it comes from."""

    def operate(self, operation: FileOperation, plan: SessionPlan, uploads: Uploads) -> Flow[Submitted]:
        """Hand an operation on a session's files in, with what it brings."""

    def content(self, job: str, artifact: Artifact) -> Flow[bytes]:
        """The bytes of a file that a job left."""

    def submit_many(self, items: Iterable[Item], batch: str | None) -> Flow[list[Answer]]:
        """Hand items in, into a batch or none; an answer for each, in order."""

    def open_batch(self, batch: str, name: str | None) -> Flow[None]:
        """Make a batch without jobs."""

    def batch(self, batch: str) -> Flow[BatchInfo]:
        """How a batch stands."""

    def seal_batch(self, batch: str) -> Flow[None]:
        """Let it take no further job."""

    def cancel_batch(self, batch: str) -> Flow[None]:
        """Ask all its jobs to end and seal it."""

    def batch_reader(self, batch: str, after: str | None, *, has_results: bool) -> Any:
        """A reader of its events; `done` brings the Result where that is asked for."""

    def next_batch_events(self, reader: Any, block_s: float) -> Flow[Sequence[BatchEvent]]:
        """Its next events; empty when there is none within about `block_s`."""

    def release_batch(self, reader: Any) -> Flow[None]:
        """As `release`."""

    def status(self, job: str) -> Flow[JobStatus]:
        """How the job stands."""

    def why(self, job: str) -> Flow[Why]:
        """Where it stands, what it waits for, and what to do about it."""

    def result(self, job: str) -> Flow[Result | None]:
        """Its kept Result; None while it has not ended."""

    def cancel(self, job: str) -> Flow[bool]:
        """Ask for its end; True when it has ended with this."""

    def feed(self, job: str, chunk: InputChunk) -> Flow[None]:
        """Write to its standard input."""

    def reader(self, job: str, after: str | None) -> R:
        """A reader of all its events, or of those after one."""

    def end_reader(self, job: str) -> R:
        """A reader for whoever wants `finished` alone."""

    def next_events(self, reader: R, block_s: float) -> Flow[Sequence[Event]]:
        """Its next events; empty when there is none within about `block_s`."""

    def release(self, reader: R) -> Flow[None]:
        """Give back what the reader holds; always called at the end of the reading."""

    def jobs(self, wanted: JobFilter, limit: int) -> Flow[list[JobStatus]]:
        """The newest jobs that match, newest first."""

    def open_session(self, wanted: SessionPlan, *, must_exist: bool) -> Flow[SessionInfo]:
        """Make or find a session."""

    def sessions(self) -> Flow[list[SessionInfo]]:
        """The live sessions, the last used first."""

    def session(self, name: str) -> Flow[SessionInfo]:
        """How a session stands."""

    def metrics(self, name: str) -> Flow[SessionMetrics]:
        """What its sandbox uses now."""

    def touch(self, name: str) -> Flow[float]:
        """Start its idle time anew; when it ends if nothing happens."""

    def close_session(self, name: str) -> Flow[SessionInfo]:
        """End it."""

    def profiles(self) -> Flow[Mapping[str, Profile]]:
        """The profiles that nodes serve."""

    def nodes(self) -> Flow[list[NodeStatus]]:
        """The worker nodes."""

    def queues(self) -> Flow[list[QueueStatus]]:
        """How much waits in each class."""

    def overview(self, *, has_sessions: bool) -> Flow[Overview]:
        """Queues, nodes, newest jobs, and unless they may not be seen sessions."""


class Transport(Protocol):
    """Carries flows out; safe to share between threads."""

    def run(self, flow: Flow[A]) -> A:
        """Carry a flow out to its end."""

    def close(self) -> None:
        """Close all connections."""


class AsyncTransport(Protocol):
    """`Transport` for one event loop."""

    async def run(self, flow: Flow[A]) -> A:
        """As `Transport.run`."""

    async def close(self) -> None:
        """As `Transport.close`."""
