"""Does each detector fire? One sound case, spoiled in one way at a time; a silent detector is worth nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.chaos import check
from tests.chaos.evidence import Case, Event, Hit, Reading
from tests.chaos.plan import FaultKind, Kind, PlannedJob

Spoil = Callable[[Case], Case]


def sound(kind: Kind = Kind.PRINT, outcome: str = "ok", index: int = 7, **plan: Any) -> Case:
    """A job that ran once and ended as told."""
    spec = {"retries": plan.pop("retries", 0), "session": plan.pop("session", None)}
    body = plan.pop("body", b"hello\n")
    at = float(plan.pop("at", 100.0))
    planned = PlannedJob(index, 0.0, kind, spec, body, **plan)
    result = {"outcome": outcome, "message": "", "attempt": 1}
    written = (b"begin %d ab12\n" % index) + (body or b"") + (b"end %d\n" % index)
    events = (
        Event((0, 1), "queued", at, fields={}),
        Event((1, 0), "started", at + 1, fields={"attempt": 1, "node": "n", "sandbox": "box"}),
        Event((1, 16), "stdout", at + 2, data=written[:9]),
        Event((1, 17), "stdout", at + 2, data=written[9:]),
        Event((1, 18), "finished", at + 3, fields={"result": result}),
    )
    record = {"state": "finished", "outcome": outcome, "starts": "0"}
    return Case(planned, f"j{index}", record, events, {"result": result})


def ended(case: Case, outcome: str, **record: str) -> Case:
    """The same job with another outcome, everywhere."""
    result = {"outcome": outcome, "message": "why", "attempt": 1}
    last = replace(case.events[-1], fields={"result": result})
    return replace(
        case,
        record={**case.record, "outcome": outcome, **record},
        events=(*case.events[:-1], last),
        meta={"result": {"exc_type": "JobLost", "result": result}},
    )


def without(case: Case, *kinds: str) -> Case:
    """Less the events of these types."""
    return replace(case, events=tuple(event for event in case.events if event.type not in kinds))


def inserted(case: Case, at: int, *events: Event) -> Case:
    """With more events at a place."""
    return replace(case, events=(*case.events[:at], *events, *case.events[at:]))


def written(case: Case, text: bytes) -> Case:
    """With other output."""
    first, *_ = case.of_type("stdout")
    bare = without(case, "stdout")
    return inserted(bare, 2, replace(first, data=text))


def retried(case: Case) -> Case:
    """With an attempt before, that was cut off."""
    told = {"attempt": 1, "node": "n", "sandbox": "box"}
    second = [replace(e, id=(2, e.id[1])) for e in case.events[1:]]
    second[0] = replace(second[0], fields={**told, "attempt": 2})
    second[-1] = replace(second[-1], fields={"result": {**case.events[-1].fields["result"], "attempt": 2}})
    before = (
        case.events[0],
        Event((1, 0), "started", 100.5, fields=told),
        Event((1, 16), "stdout", 100.6, data=b"begin 7 cd34\nhel"),
        Event((1, 17), "retried", 100.7, fields={"attempt": 2, "reason": "node_lost"}),
    )
    return replace(case, events=(*before, *second))


def lost_while(hit: Hit) -> list[str]:
    return check.check_job(ended(sound(), "lost"), [hit])


def test_a_sound_job_has_nothing_wrong():
    assert check.check_job(sound(), []) == []


def test_a_sound_retry_has_nothing_wrong():
    assert check.check_job(retried(sound(retries=2)), []) == []


NO_TEXT = b""
OTHER_RESULT = {"result": {"outcome": "error"}}
SPOILED: dict[str, tuple[str, Spoil]] = {
    "never ended": ("stuck", lambda c: replace(c, record={"state": "running", "lease": "x:1"})),
    "gone": ("stuck", lambda c: replace(c, record={}, events=())),
    "no end told": ("0 finished events", lambda c: without(c, "finished")),
    "two ends told": ("2 finished events", lambda c: inserted(c, 5, replace(c.events[-1], id=(1, 19)))),
    "a word after the end": ("after finished", lambda c: inserted(c, 5, Event((1, 30), "stdout", 9.0, data=b"x"))),
    "no result": ("no result", lambda c: replace(c, meta=None)),
    "two results": ("finished says ok", lambda c: replace(c, meta=OTHER_RESULT)),
    "ids fall": ("after (1, 17)", lambda c: inserted(c, 4, Event((1, 3), "stderr", 102.0, data=b"x"))),
    "no beginning": ("does not begin", lambda c: without(c, "queued")),
    "two attempts at once": (
        "started inside attempt of claim 1",
        lambda c: inserted(c, 3, Event((1, 16), "started", 101.0, fields={"attempt": 2, "sandbox": "b", "node": "n"})),
    ),
    "an old attempt writes": ("output of claim 0", lambda c: inserted(c, 1, Event((0, 5), "stderr", 100.0, data=b"x"))),
    "attempts miscounted": (
        "attempts are numbered [2]",
        lambda c: replace(c, events=(c.events[0], replace(c.events[1], fields={"attempt": 2}), *c.events[2:])),
    ),
    "too many attempts": ("2 attempts with 0 retries", retried),
    "a stale end": (
        "ended by attempt 1 where 2 was the last",
        lambda c: replace(retried(c), events=(*retried(c).events[:-1], c.events[-1])),
    ),
    "an end from nowhere": (
        "ended ok while no attempt ran",
        lambda c: inserted(c, 4, Event((1, 18), "retried", 102.5, fields={"attempt": 2, "reason": "node_lost"})),
    ),
    "code ran twice": ("ran 2 times", lambda c: written(c, b"begin 7 ab\nbegin 7 cd\nhello\nend 7\n")),
    "output lost": ("differs at 4", lambda c: written(c, b"begin 7 ab\nhellend 7\n")),
    "output cut": ("of 12 bytes", lambda c: written(c, b"begin 7 ab\nhello\n")),
    "output doubled": ("differs at 6", lambda c: written(c, b"begin 7 ab\nhello\nhello\nend 7\n")),
    "another job's output": ("begins with", lambda c: written(c, b"begin 8 ab\nhello\nend 7\n")),
    "no output": ("only b''", lambda c: without(c, "stdout")),
    "an outcome of no program": ("ended oom, not ok", lambda c: ended(c, "oom")),
    "cancelled unasked": ("ended cancelled, not ok", lambda c: ended(c, "cancelled")),
    "expired unasked": ("ended expired, not ok", lambda c: ended(c, "expired")),
    "lost without a fault": ("lost without a cause: why", lambda c: ended(c, "lost")),
    "lost before its last attempt": ("lost after 0 of 1", lambda c: ended(without(c, "started", "stdout"), "lost")),
    "infra too early": ("infra after 1 failed starts", lambda c: ended(without(c, "started", "stdout"), "infra")),
    "infra after it ran": ("infra after 3 failed", lambda c: ended(c, "infra", starts="2")),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_job_that_was_spoiled_is_told(name: str):
    text, spoil = SPOILED[name]

    found = check.check_job(spoil(sound()), [])

    assert any(text in line for line in found), found


@pytest.mark.parametrize(
    ("hit", "is_cause"),
    [
        (Hit(FaultKind.WORKER_KILLED, 102.0, 102.0, node="n"), True),
        (Hit(FaultKind.WORKER_KILLED, 90.0, 90.0, node="n"), False),
        (Hit(FaultKind.WORKER_KILLED, 110.0, 110.0, node="n"), False),
        (Hit(FaultKind.WORKER_KILLED, 102.0, 102.0, node="other"), False),
        (Hit(FaultKind.WORKER_STOPPED, 95.0, 105.0, node="n"), True),
        (Hit(FaultKind.AGENT_KILLED, 102.0, 102.0, sandbox="box"), True),
        (Hit(FaultKind.CONTAINER_KILLED, 102.0, 102.0, sandbox="other"), False),
        (Hit(FaultKind.REDIS_KILLED, 102.0, 102.0), False),
        (Hit(FaultKind.CONNECTIONS_CUT, 102.0, 102.0), False),
        (Hit(FaultKind.ENGINE_KILLED, 90.0, 120.0), True),
    ],
)
def test_a_job_is_lost_only_by_a_fault_that_hit_it(hit: Hit, is_cause: bool):
    assert (lost_while(hit) == []) is is_cause


def test_three_failed_starts_are_infra():
    assert check.check_job(ended(without(sound(), "started", "stdout"), "infra", starts="2"), []) == []


@pytest.mark.parametrize(
    "case",
    [
        ended(without(sound(Kind.EXPIRING), "started", "stdout"), "expired"),
        ended(without(sound(cancel_after_s=0.0), "started", "stdout"), "cancelled"),
        ended(written(sound(Kind.STUBBORN, body=None), b"begin 7 ab\nyyy"), "cancelled"),
        sound(Kind.FAIL, "error"),
        ended(written(sound(Kind.TIMEOUT, body=b""), b"begin 7 ab\n"), "timeout"),
    ],
    ids=lambda case: f"{case.plan.kind} {case.outcome}",
)
def test_what_was_asked_for_is_not_wrong(case: Case):
    assert check.check_job(case, []) == []


def test_a_job_that_was_made_twice_and_one_that_is_gone_are_told():
    assert check.made_twice(["a", "b"], ["b", "c"]) == ["job c was never accepted", "job a was accepted and is gone"]


def test_a_job_in_two_places_and_a_blind_watch_are_told():
    assert "ran twice at once: [3, 4]" in check.in_two_places([sound()], {7}, {7: [3, 4]})[0]
    assert check.in_two_places([sound()], set(), {}) == ["no program was ever seen on the host"]
    assert check.in_two_places([sound()], {7}, {}) == []


def in_session(index: int, at: float, seen: bytes | None = None, *, restarted: bool = False) -> Case:
    case = sound(Kind.SESSION, index=index, at=at, session="s", body=None)
    if seen is not None:
        case = written(case, b"begin %d ab\nseen %s\nend %d\n" % (index, seen, index))
    event = Event((1, 0), "session_restarted", at + 0.5, fields={"reason": "lost"})
    return inserted(case, 1, event) if restarted else case


def test_jobs_of_a_session_one_after_the_other_are_in_order():
    assert check.session_disordered([in_session(1, 100), in_session(2, 110)]) == []


def test_a_job_that_overtakes_another_of_its_session_is_told():
    assert "before" in check.session_disordered([in_session(1, 110), in_session(2, 100)])[0]


def test_two_jobs_of_a_session_at_once_are_told():
    assert "started 1.000 s before" in check.session_disordered([in_session(1, 100), in_session(2, 101)])[0]


def test_a_session_that_kept_its_files_has_nothing_wrong():
    line = [in_session(1, 100, b""), in_session(2, 110, b"1"), in_session(3, 120, b"1 2")]

    assert check.session_forgot(line) == []


def test_a_session_that_lost_its_files_is_told():
    line = [in_session(1, 100, b""), in_session(2, 110, b"")]

    assert "found [] where [1] was left" in check.session_forgot(line)[0]


def test_a_session_that_said_that_it_was_restarted_has_nothing_wrong():
    line = [in_session(1, 100, b""), in_session(2, 110, b"", restarted=True), in_session(3, 120, b"2")]

    assert check.session_forgot(line) == []


def test_sessions_are_looked_at_one_by_one():
    other = replace(in_session(3, 100), plan=replace(in_session(3, 100).plan, spec={"retries": 0, "session": "t"}))

    assert check.check_all([in_session(1, 100, b""), other], []) != check.check_all(
        [in_session(1, 100, b""), in_session(3, 100, b"")], []
    )


READ = ["0-1", "1-0", "1-16", "1-17", "1-18"]


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        (Reading(READ), None),
        (Reading(READ[:-1]), "missed ['1-18']"),
        (Reading([*READ[:2], *READ[3:]]), "missed ['1-16']"),
        (Reading([*READ[:2], *READ[1:]]), "saw 6 of 5"),
        (Reading(READ[:2], "StreamTimeout()"), "failed: StreamTimeout()"),
    ],
)
def test_a_reader_that_missed_something_is_told(reading: Reading, text: str | None):
    found = check.misread(sound(), reading)

    assert (text in found[0]) if text else not found
