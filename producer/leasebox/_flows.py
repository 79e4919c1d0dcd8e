"""What the clients do, step by step, written once: generators that yield reads and scripts and are sent the answers."""

from collections.abc import Mapping

from msgspec import Struct

from leasebox import _quota, _reads, _sessions
from leasebox._reads import Flow, Place
from leasebox._stream import START, EventReader
from leasebox._submit import Profile
from leasebox.contract import errors
from leasebox.contract.events import Event
from leasebox.contract.keys import Keys
from leasebox.contract.result import JobStatus, Result, State
from leasebox.contract.scripts import answers, client_answers
from leasebox.contract.scripts import client as scripts
from leasebox.contract.scripts.client import NewJob

PAGE = 200
MAX_SCANNED = 10_000


class Submitted(Struct, frozen=True):
    """An accepted job; `is_existing` when an earlier submit with the same idempotency key had made it.

    `batch`: of an existing job, the one that it belongs to. `pace`: how often its tenant may submit, if that is bound.
    """

    job: str
    is_existing: bool
    batch: str | None = None
    pace: client_answers.SubmitPace | None = None


class JobFilter(Struct, frozen=True):
    """Which jobs a list holds; None and empty match everything."""

    state: str | None = None
    session: str | None = None
    metadata: Mapping[str, str] | None = None

    def matches(self, status: JobStatus) -> bool:
        """Whether the job belongs into the list."""
        if self.state is not None and self.state not in (status.state, status.outcome):
            return False
        if self.session is not None and status.session != self.session:
            return False
        return all(status.metadata.get(name) == value for name, value in (self.metadata or {}).items())


def submit(keys: Keys, record: NewJob) -> Flow[Submitted]:
    """Hand a record in.

    Raises:
        LeaseboxError: The class that belongs to the script's refusal; nothing was queued.
    """
    answer = yield scripts.submit(keys, record=record)
    if isinstance(answer, client_answers.Expired) and record.session is not None:
        raise (yield from _sessions.gone(keys, record.tenant, record.session, answer.reason))
    return told(answer, record)


def told(answer: object, record: NewJob) -> Submitted:
    """Turn the script's answer into a value or the error that it means."""
    match answer:
        case client_answers.Accepted():
            return Submitted(answer.job, False, pace=answer.pace)
        case client_answers.Existing():
            # A repeat of this very call, whose first reply was lost, is no earlier submit.
            return Submitted(answer.job, answer.job != record.job, answer.batch or None)
        case client_answers.Conflict():
            raise errors.IdempotencyConflict(
                f"idempotency_key: {record.idempotency_key!r} belongs to job {answer.job}, which has another spec"
            )
        case client_answers.Full():
            raise _quota.queue_full(answer, record.priority)
        case (
            client_answers.ProfileDiffers()
            | client_answers.Quota()
            | client_answers.Beyond()
            | client_answers.Expired()
        ):
            raise _sessions.refusal(answer, record.tenant, record.session)
        case client_answers.Refused():
            raise errors.BatchClosed(f"batch {record.batch} takes no further jobs: it is sealed or cancelled")
        case client_answers.BlobGone():
            raise errors.InvalidSpec(f"files: upload {answer.blob} is gone", hint="upload it again")
        case _:
            raise TypeError(f"submit answered {answer!r}")


def fields(keys: Keys, tenant: str, job: str) -> Flow[dict[str, str]]:
    """The record of a job of this tenant.

    Raises:
        UnknownJob: There is none; another tenant's counts as none.
    """
    found: dict[str, str] = yield _reads.job_fields(keys, job)
    if not found.get("state") or found.get("tenant", tenant) != tenant:
        raise _reads.no_job(job)
    return found


def status(keys: Keys, tenant: str, job: str) -> Flow[JobStatus]:
    """How the job stands.

    Raises:
        UnknownJob: As for `fields`.
    """
    found = yield from fields(keys, tenant, job)
    position = None
    if found["state"] == State.QUEUED:
        position = yield _reads.positions(keys, job, found)
    return _reads.status_of(job, found, position)


def result(keys: Keys, tenant: str, job: str) -> Flow[Result | None]:
    """The Result, or None while the job has not ended.

    Raises:
        UnknownJob: As for `fields`.
    """
    found: Result | None = yield _reads.result(keys, job)
    record = yield from fields(keys, tenant, job)
    if found is None and record["state"] == State.FINISHED:
        # It ended between the two reads, or its result was deleted by hand.
        found = yield _reads.result(keys, job)
        if found is None:
            raise errors.UnknownJob(f"the result of job {job} is gone", hint="it was deleted from Redis")
    return found


def cancel(keys: Keys, tenant: str, job: str) -> Flow[bool]:
    """Ask for the end; True when the job has ended with this.

    Raises:
        UnknownJob: As for `fields`.
    """
    answer = yield scripts.cancel(keys, job=job, tenant=tenant)
    if isinstance(answer, answers.Gone):
        raise _reads.no_job(job)
    return not isinstance(answer, client_answers.Requested)


def next_events(
    keys: Keys, tenant: str, reader: EventReader, block_s: float, count: int = _reads.MAX_ENTRIES
) -> Flow[list[Event]]:
    """The next events, of at most `count` entries; empty when `block_s` passed without any, 0 = do not wait.

    Raises:
        UnknownJob: There is no such job.
        StreamExpired: Its events are gone; its result may still be there.
    """
    if reader.needs_priming:
        reader.prime((yield _reads.priming(keys, reader)))
        if reader.is_done:
            return []
    # A stream begins with `queued`: if not even that is there, waiting would not bring it.
    block_ms = 0 if reader.cursor == START or block_s <= 0 else max(1, int(block_s * 1000))
    entries = yield _reads.next_entries(keys, reader, block_ms, count)
    if not entries:
        yield from _look(keys, tenant, reader)
        return []
    found = reader.feed(entries)
    if reader.is_partial:
        whole: Result | None = yield _reads.result(keys, reader.job)
        if whole is None:
            raise errors.StreamExpired(f"the result of job {reader.job} is gone")
        found.append(reader.complete(whole))
    return found


def _look(keys: Keys, tenant: str, reader: EventReader) -> Flow[None]:
    """After a silence, ask the record whether anything can still come."""
    record = yield from fields(keys, tenant, reader.job)
    if record["state"] != State.FINISHED:
        return
    # The end may have come between the two reads; only an end that is not in the stream means that it is gone.
    if not (yield _reads.next_entries(keys, reader, 0)):
        raise errors.StreamExpired(
            f"the events of job {reader.job} are no longer kept", hint=f"`leasebox result {reader.job}` has the result"
        )


class JobPage(Struct, frozen=True):
    """A part of a list of jobs; `next` is None at its end."""

    jobs: list[JobStatus]
    next: Place | None


def jobs(keys: Keys, tenant: str, wanted: JobFilter, limit: int) -> Flow[list[JobStatus]]:
    """The newest jobs that match, newest first; looks at the last 10,000."""
    return (yield from job_page(keys, tenant, wanted, limit, None)).jobs


def job_page(keys: Keys, tenant: str, wanted: JobFilter, limit: int, behind: Place | None) -> Flow[JobPage]:
    """The next jobs that match, newest first; it may be short of `limit` although the list goes on."""
    found: list[JobStatus] = []
    for _ in range(0, MAX_SCANNED, PAGE):
        places: list[Place] = yield _reads.recent(keys, tenant, behind, PAGE)
        if not places:
            return JobPage(found, None)
        records: list[dict[str, str]] = yield _reads.many_fields(keys, [place.job for place in places])
        for place, record in zip(places, records, strict=True):
            behind = place
            if not record.get("state") or record.get("kind") == "file":
                continue
            status = _reads.status_of(place.job, record)
            if wanted.matches(status):
                found.append(status)
            if len(found) == limit:
                return JobPage(found, behind)
    return JobPage(found, behind)


def erase(keys: Keys, tenant: str, job: str) -> Flow[None]:
    """Forget a finished job.

    Raises:
        UnknownJob: There is no such job in this tenant.
        WrongState: It has not ended.
    """
    kept: Result | None = yield _reads.result(keys, job)
    answer = yield scripts.erase(keys, job=job, tenant=tenant)
    match answer:
        case answers.Gone():
            raise _reads.no_job(job)
        case client_answers.NotFinished():
            raise errors.WrongState(f"job {job} is {answer.state}", hint="cancel it first")
    if kept is not None:
        yield _reads.forget([keys.artifact(job, artifact.sha256) for artifact in kept.artifacts])


def profiles(keys: Keys) -> Flow[dict[str, Profile]]:
    """The profiles that nodes published."""
    return (yield _reads.profiles(keys))  # type: ignore[no-any-return]


def nodes(keys: Keys) -> Flow[list[_reads.NodeStatus]]:
    """The nodes of the installation."""
    named = yield _reads.node_names(keys)
    return (yield _reads.node_fields(keys, named))  # type: ignore[no-any-return]


def queues(keys: Keys) -> Flow[list[_reads.QueueStatus]]:
    """How much waits in each class."""
    return (yield _reads.queues(keys))  # type: ignore[no-any-return]


def server_facts() -> Flow[_reads.ServerFacts]:
    """Version, persistence and memory of the server."""
    return (yield _reads.server_facts())  # type: ignore[no-any-return]
