"""How is each request of a client served by Redis itself?"""

import time
from collections.abc import Iterable, Mapping, Sequence

from leasebox import (
    _batches,
    _blobs,
    _files,
    _flows,
    _input,
    _metrics,
    _overview,
    _sessions,
    _standing,
    _submit,
    _webhooks,
)
from leasebox._backend import NONE
from leasebox._batches import Answer, BatchReader, Handed, Item
from leasebox._content import Uploads
from leasebox._flows import JobFilter, Submitted
from leasebox._input import InputChunk
from leasebox._message import Template, template
from leasebox._overview import Overview
from leasebox._reads import Flow, NodeStatus, QueueStatus
from leasebox._redis import MAX_BLOCK_S
from leasebox._sessions import SessionPlan
from leasebox._stream import EventReader
from leasebox._submit import Profile
from leasebox._webhooks import Rules
from leasebox.config import ClientSettings
from leasebox.contract.batches import BatchEvent, BatchInfo
from leasebox.contract.errors import LeaseboxError
from leasebox.contract.events import Event
from leasebox.contract.files import FileOperation
from leasebox.contract.keys import Keys
from leasebox.contract.metrics import SessionMetrics
from leasebox.contract.result import Artifact, JobStatus, Result, SessionInfo
from leasebox.contract.scripts.client import NewJob
from leasebox.contract.spec import JobSpec
from leasebox.contract.standing import Why

PROFILES_FRESH_S = 10.0


class RedisBackend:
    """`Backend` over the flows of `_flows`, `_sessions` and `_standing`, for one tenant."""

    max_block_s = MAX_BLOCK_S

    def __init__(self, settings: ClientSettings) -> None:
        self.keys = Keys(settings.prefix)
        self.tenant = settings.tenant
        self._settings = settings
        self._profiles: dict[str, Profile] = {}
        self._profiles_until = 0.0
        self._rules = Rules()
        self._rules_until = 0.0

    def submit(self, spec: JobSpec, plan: SessionPlan | None, uploads: Uploads = NONE) -> Flow[Submitted]:
        """Check against the profiles, upload, make the record, and hand it in."""
        _submit.check_profile(spec, (yield from self._fresh_profiles()))
        if spec.callback_url is not None:
            (yield from self._fresh_rules()).check(spec.callback_url)
        yield from _blobs.upload(self.keys, self.tenant, uploads)
        record = _submit.record(spec, self._settings, template(self._settings.home / "cache"))
        record = plan.onto(record) if plan is not None else record
        return (yield from _flows.submit(self.keys, record))

    def submit_many(self, items: Iterable[Item], batch: str | None) -> Flow[list[Answer]]:
        """As `submit` for each, many in one trip."""
        profiles = yield from self._fresh_profiles()
        yield from self._fresh_rules()
        made = template(self._settings.home / "cache")
        handed = (Handed(self._record(item, batch, profiles, made), item.uploads) for item in items)
        return (yield from _batches.submit_many(self.keys, self.tenant, handed))

    def _record(
        self, item: Item, batch: str | None, profiles: Mapping[str, Profile], made: Template
    ) -> NewJob | LeaseboxError:
        if isinstance(item.spec, LeaseboxError):
            return item.spec
        try:
            _submit.check_profile(item.spec, profiles)
            self._rules.check(item.spec.callback_url)
        except LeaseboxError as exc:
            return exc
        membership = _batches.membership(item, batch)
        return _submit.record(item.spec, self._settings, made, item.job, membership)

    def open_batch(self, batch: str, name: str | None, callback_url: str | None = None) -> Flow[None]:
        """By the script."""
        if callback_url is not None:
            (yield from self._fresh_rules()).check(callback_url)
        result_ttl_s = self._settings.result_ttl_s
        yield from _batches.open_batch(self.keys, self.tenant, batch, name, result_ttl_s, callback_url)

    def batch(self, batch: str) -> Flow[BatchInfo]:
        """From its record."""
        return _batches.info(self.keys, self.tenant, batch)

    def seal_batch(self, batch: str) -> Flow[None]:
        """By the script."""
        return _batches.seal(self.keys, self.tenant, batch)

    def cancel_batch(self, batch: str) -> Flow[None]:
        """By the script, 64 jobs at a time."""
        return _batches.cancel(self.keys, self.tenant, batch)

    def batch_reader(self, batch: str, after: str | None, *, has_results: bool) -> BatchReader:
        """A reader of the batch's stream."""
        return BatchReader(batch, after, has_results=has_results)

    def next_batch_events(self, reader: BatchReader, block_s: float) -> Flow[Sequence[BatchEvent]]:
        """One blocking read, and one of the results."""
        return _batches.next_events(self.keys, self.tenant, reader, block_s)

    def release_batch(self, reader: BatchReader) -> Flow[None]:  # noqa: ARG002
        """Nothing is held between reads."""
        yield from ()

    def operate(
        self, operation: FileOperation, plan: SessionPlan, uploads: Uploads, key: str | None = None
    ) -> Flow[Submitted]:
        """Upload, make the record, and hand it in; `key`: of idempotency."""
        yield from _blobs.upload(self.keys, self.tenant, uploads)
        record = _files.record(operation, plan, self._settings, template(self._settings.home / "cache"), key)
        return (yield from _flows.submit(self.keys, record))

    def content(self, job: str, artifact: Artifact) -> Flow[bytes]:
        """A part at a time."""
        return _blobs.content(self.keys, job, artifact)

    def status(self, job: str) -> Flow[JobStatus]:
        """From the record."""
        return _flows.status(self.keys, self.tenant, job)

    def why(self, job: str) -> Flow[Why]:
        """By one look at the record and all that is before it."""
        return _standing.why(self.keys, self.tenant, job)

    def result(self, job: str) -> Flow[Result | None]:
        """From where Celery's result backend looks."""
        return _flows.result(self.keys, self.tenant, job)

    def cancel(self, job: str) -> Flow[bool]:
        """By the script."""
        return _flows.cancel(self.keys, self.tenant, job)

    def feed(self, job: str, chunk: InputChunk) -> Flow[None]:
        """By the script."""
        return _input.feed(self.keys, self.tenant, job, chunk)

    def reader(self, job: str, after: str | None) -> EventReader:
        """A reader of the job's stream."""
        return EventReader(job, after)

    def end_reader(self, job: str) -> EventReader:
        """It starts behind `queued`."""
        return EventReader.for_result(job)

    def next_events(self, reader: EventReader, block_s: float) -> Flow[Sequence[Event]]:
        """One blocking read."""
        return _flows.next_events(self.keys, self.tenant, reader, block_s)

    def release(self, reader: EventReader) -> Flow[None]:  # noqa: ARG002
        """Nothing is held between reads."""
        yield from ()

    def jobs(self, wanted: JobFilter, limit: int) -> Flow[list[JobStatus]]:
        """From the tenant's last jobs."""
        return _flows.jobs(self.keys, self.tenant, wanted, limit)

    def open_session(self, wanted: SessionPlan, *, must_exist: bool) -> Flow[SessionInfo]:
        """Check the profile, then by the script."""
        _submit.check_served(wanted.profile, (yield from self._fresh_profiles()))
        return (yield from _sessions.open_session(self.keys, self.tenant, wanted, must_exist=must_exist))

    def sessions(self) -> Flow[list[SessionInfo]]:
        """From their records."""
        return _sessions.sessions(self.keys, self.tenant)

    def session(self, name: str) -> Flow[SessionInfo]:
        """From its record."""
        return _sessions.info(self.keys, self.tenant, name)

    def metrics(self, name: str) -> Flow[SessionMetrics]:
        """From its node."""
        return _metrics.metrics(self.keys, self.tenant, name)

    def touch(self, name: str) -> Flow[float]:
        """By the script."""
        return _sessions.touch(self.keys, self.tenant, name)

    def close_session(self, name: str) -> Flow[SessionInfo]:
        """By the script."""
        return _sessions.close(self.keys, self.tenant, name)

    def profiles(self) -> Flow[Mapping[str, Profile]]:
        """As the nodes published them."""
        self._profiles = yield from _flows.profiles(self.keys)
        self._profiles_until = time.monotonic() + PROFILES_FRESH_S
        return dict(self._profiles)

    def nodes(self) -> Flow[list[NodeStatus]]:
        """As they last reported."""
        return _flows.nodes(self.keys)

    def queues(self) -> Flow[list[QueueStatus]]:
        """By counting."""
        return _flows.queues(self.keys)

    def overview(self, *, has_sessions: bool) -> Flow[Overview]:
        """By one look."""
        return _overview.overview(self.keys, self.tenant, has_sessions=has_sessions)

    def _fresh_profiles(self) -> Flow[Mapping[str, Profile]]:
        if time.monotonic() >= self._profiles_until:
            yield from self.profiles()
        return self._profiles

    def _fresh_rules(self) -> Flow[Rules]:
        if time.monotonic() >= self._rules_until:
            self._rules = yield _webhooks.rules(self.keys)
            self._rules_until = time.monotonic() + PROFILES_FRESH_S
        return self._rules
