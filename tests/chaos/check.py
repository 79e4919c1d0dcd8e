"""Did a round keep the promises? Pure functions from what was found to a list of what is wrong, empty if all is well.

| detector | promise (DESIGN.md, delivery) |
|---|---|
| `not_ended_once` | a job ends exactly once: one `finished` event, the last, and one result that says the same |
| `made_twice` | a submit that was tried again made one job |
| `not_in_order` | ids rise; attempts follow each other, never interleaved |
| `started_twice` | code is started at most once per attempt, and in no more attempts than allowed |
| `in_two_places` | an old attempt has stopped before a new one may start |
| `output_spoiled` | output is neither lost, doubled nor mixed |
| `ended_by_another` | a stale holder changes nothing: the last attempt alone ends the job |
| `wrong_outcome` | what ended otherwise than its program has a cause; `infra` needs three failed starts |
| `misread` | a live reader sees every event once, in order, up to the end, whatever happened on the way |
| `session_disordered` | jobs of a session run one at a time, in the order of their submits |
| `session_forgot` | a session's state is never silently gone |
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import pairwise

from tests.chaos.evidence import Attempt, Case, Hit, Reading
from tests.chaos.plan import FaultKind, Kind

MAX_STARTS = 3
CLOCK_S = 0.5
"""Redis' clock and ours are the same host's; a hit is noted a moment before or after it has its effect."""

_OWN_OUTCOME = {Kind.FAIL: "error", Kind.TIMEOUT: "timeout", Kind.STUBBORN: "cancelled"}
_OF_PROGRAM = ("ok", "error", "timeout")
_OF_WORKER = (FaultKind.WORKER_KILLED, FaultKind.WORKER_GONE, FaultKind.WORKER_STOPPED)


def check_all(cases: Sequence[Case], hits: Sequence[Hit]) -> list[str]:
    """Everything that is wrong with the jobs of a round."""
    found = [line for case in cases for line in check_job(case, hits)]
    sessions = sorted({case.plan.session for case in cases if case.plan.session})
    for name in sessions:
        line = [case for case in cases if case.plan.session == name]
        found += session_disordered(line) + session_forgot(line)
    return found


def check_job(case: Case, hits: Sequence[Hit]) -> list[str]:
    """Everything that is wrong with one job; one that has not ended is told once."""
    if case.record.get("state") != "finished":
        return [f"{case} is stuck: {_shown(case)}"]
    found = not_ended_once(case) + not_in_order(case) + started_twice(case) + output_spoiled(case)
    return [f"{case}: {text}" for text in found + ended_by_another(case) + wrong_outcome(case, hits)]


def not_ended_once(case: Case) -> list[str]:
    """More or fewer than one end, or two words about it."""
    ends = case.of_type("finished")
    if len(ends) != 1:
        return [f"{len(ends)} finished events"]
    if case.events[-1] is not ends[0]:
        return [f"{case.events[-1].type} after finished"]
    if case.meta is None:
        return ["no result in Celery's key"]
    told = (ends[0].fields or {})["result"]["outcome"]
    kept = case.meta["result"]
    kept = kept if "outcome" in kept else kept["result"]
    if not told == kept["outcome"] == case.outcome:
        return [f"finished says {told}, the result {kept['outcome']}, the record {case.outcome}"]
    return []


def made_twice(jobs: Iterable[str], records: Iterable[str]) -> list[str]:
    """Records without an accepted submit (a repeat made a second job), or submits without a record."""
    accepted, stored = set(jobs), set(records)
    return [f"job {job} was never accepted" for job in sorted(stored - accepted)] + [
        f"job {job} was accepted and is gone" for job in sorted(accepted - stored)
    ]


def not_in_order(case: Case) -> list[str]:
    """Ids that do not rise, or events where none may be."""
    found = [f"id {b.id} after {a.id}" for a, b in pairwise(case.events) if b.id <= a.id]
    if not case.events or case.events[0].type != "queued":
        found.append("the stream does not begin with queued")
    claim: int | None = None
    for event in case.events:
        if event.type == "started":
            if claim is not None:
                found.append(f"started inside attempt of claim {claim}")
            claim = event.id[0]
        elif event.type in ("stdout", "stderr") and event.id[0] != claim:
            found.append(f"output of claim {event.id[0]} where claim {claim} runs")
        elif event.type in ("retried", "finished"):
            claim = None
    return found


def started_twice(case: Case) -> list[str]:
    """Attempts that do not count 1, 2, 3, more than allowed, or two runs of the code in one."""
    numbers = [(event.fields or {})["attempt"] for event in case.of_type("started")]
    found = []
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"attempts are numbered {numbers}")
    if len(numbers) > case.plan.retries + 1:
        found.append(f"{len(numbers)} attempts with {case.plan.retries} retries")
    for attempt in case.attempts:
        marks = [line for line in attempt.stdout.splitlines() if line.startswith(b"begin ")]
        if len(marks) > 1:
            found.append(f"attempt {attempt.number} ran {len(marks)} times: {marks}")
    return found


def in_two_places(cases: Sequence[Case], seen: Set[int], twins: Mapping[int, Sequence[int]]) -> list[str]:
    """Jobs whose program the host saw twice at once; and a watch that saw none of those that ran."""
    found = [f"{case} ran twice at once: {twins[case.plan.index]}" for case in cases if case.plan.index in twins]
    if not seen and any(case.attempts for case in cases):
        found.append("no program was ever seen on the host")
    return found


def output_spoiled(case: Case) -> list[str]:
    """Output that its program cannot have written, or a program that ended by itself and whose output is not whole."""
    found = []
    attempts = case.attempts
    for attempt in attempts:
        is_whole = attempt is attempts[-1] and case.outcome in ("ok", "error")
        reason = _spoiled(case, attempt, is_whole=is_whole)
        if reason:
            found.append(f"attempt {attempt.number}: {reason}")
    return found


def _spoiled(case: Case, attempt: Attempt, *, is_whole: bool) -> str | None:
    first, newline, rest = attempt.stdout.partition(b"\n")
    begin = b"begin %d " % case.plan.index
    if not newline:
        is_prefix = first.startswith(begin[: len(first)])
        return None if is_prefix and not is_whole else f"only {first!r} was written"
    if not first.startswith(begin):
        return f"begins with {first!r}"
    end = b"end %d\n" % case.plan.index
    if case.plan.body is None:
        return f"ends with {rest[-80:]!r}" if is_whole and not rest.endswith(end) else None
    expected = case.plan.body + end
    if rest == expected if is_whole else expected.startswith(rest):
        return None
    at = next(
        (n for n, (a, b) in enumerate(zip(rest, expected, strict=False)) if a != b), min(len(rest), len(expected))
    )
    return f"{len(rest)} of {len(expected)} bytes, differs at {at}: {rest[at : at + 40]!r}"


def ended_by_another(case: Case) -> list[str]:
    """An end by the program that an earlier attempt told, or while none ran."""
    if case.outcome not in _OF_PROGRAM or not case.of_type("finished"):
        return []
    started = case.of_type("started")
    last = (started[-1].fields or {})["attempt"] if started else 0
    told = (case.of_type("finished")[-1].fields or {})["result"]["attempt"]
    found = [] if told == last else [f"ended by attempt {told} where {last} was the last"]
    after = case.events[case.events.index(started[-1]) :] if started else ()
    if any(event.type == "retried" for event in after):
        found.append(f"ended {case.outcome} while no attempt ran")
    return found


def wrong_outcome(case: Case, hits: Sequence[Hit]) -> list[str]:
    """An outcome that neither the program nor a request nor a fault explains."""
    outcome, starts = case.outcome, case.of_type("started")
    wanted = {_OWN_OUTCOME.get(case.plan.kind, "ok")}
    if case.plan.cancel_after_s is not None:
        wanted.add("cancelled")
    if case.plan.kind is Kind.EXPIRING and not starts:
        wanted.add("expired")
    if outcome in wanted:
        return []
    if outcome == "lost":
        if len(starts) != case.plan.retries + 1:
            return [f"lost after {len(starts)} of {case.plan.retries + 1} attempts"]
        return [] if any(_explains(hit, case) for hit in hits) else [f"lost without a cause: {_message(case)}"]
    if outcome == "infra":
        # The start that ends the job is not counted in its record any more.
        failed = int(case.record.get("starts") or 0) + 1
        is_due = failed >= MAX_STARTS and (not starts or len(starts) <= case.plan.retries)
        return [] if is_due else [f"infra after {failed} failed starts, {len(starts)} begun: {_message(case)}"]
    return [f"ended {outcome}, not {' or '.join(sorted(wanted))}: {_message(case)}"]


def _explains(hit: Hit, case: Case) -> bool:
    """Whether a fault hit the last attempt: its worker while it ran, or its sandbox before it ended."""
    start, end = case.of_type("started")[-1], case.events[-1]
    told = start.fields or {}
    if hit.sandbox is not None:
        return hit.sandbox == told["sandbox"] and hit.at <= end.at + CLOCK_S
    if hit.kind is FaultKind.ENGINE_KILLED:
        return hit.at <= end.at and hit.until >= start.at
    is_on_node = hit.kind in _OF_WORKER and hit.node == told["node"]
    return is_on_node and hit.at - CLOCK_S <= end.at and start.at <= hit.until + CLOCK_S


def misread(case: Case, reading: Reading) -> list[str]:
    """What a reader that followed the job live saw otherwise than it stands in the stream."""
    if reading.error:
        return [f"{case}: its reader failed: {reading.error}"]
    stands = [f"{major}-{minor}" for (major, minor) in (event.id for event in case.events)]
    if reading.ids != stands:
        missed = [name for name in stands if name not in reading.ids]
        return [f"{case}: its reader saw {len(reading.ids)} of {len(stands)} events, missed {missed[:3]}"]
    return []


def session_disordered(line: Sequence[Case]) -> list[str]:
    """Jobs of one session, in the order of submits, of which one started before an earlier one had ended."""
    found = []
    ran = [case for case in line if case.of_type("started") and case.of_type("finished")]
    for earlier, later in pairwise(ran):
        ended, began = earlier.of_type("finished")[0].at, later.of_type("started")[0].at
        if began < ended:
            found.append(f"{later} started {ended - began:.3f} s before {earlier} had ended")
    return found


def session_forgot(line: Sequence[Case]) -> list[str]:
    """Jobs that did not find what earlier ones left in the session's file, and were not told why."""
    found: list[str] = []
    left: list[bytes] = []
    is_told = True
    for case in line:
        is_told = is_told or bool(case.of_type("session_restarted"))
        seen = _seen(case)
        if seen is None:
            continue
        if not is_told and seen[: len(left)] != left:
            found.append(f"{case} found {_text(seen)} where {_text(left)} was left")
        left = [*seen, b"%d" % case.plan.index]
        is_told = False
    return found


def _seen(case: Case) -> list[bytes] | None:
    """What the file held when a job that ended well came to it."""
    if case.outcome != "ok" or not case.attempts:
        return None
    lines = [line.split()[1:] for line in case.attempts[-1].stdout.splitlines() if line.startswith(b"seen")]
    return lines[0] if lines else None


def _text(numbers: Sequence[bytes]) -> str:
    return f"[{b' '.join(numbers).decode()}]"


def _message(case: Case) -> str:
    kept = (case.meta or {}).get("result", {})
    return str(kept.get("message") or kept.get("exc_message") or kept.get("result", {}).get("message") or "no message")


def _shown(case: Case) -> str:
    names = ("state", "node", "lease", "starts", "runs", "queue", "not_before", "cancel_requested")
    fields = ", ".join(f"{name}={case.record[name]}" for name in names if case.record.get(name))
    return f"{fields or 'no record'}; events {[event.type for event in case.events][-6:]}"
