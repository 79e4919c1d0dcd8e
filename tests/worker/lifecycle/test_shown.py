"""What does Flower show of each way that a job can go? A table, then what no event may hold."""

from typing import Any

import pytest

from leasebox_worker.lifecycle.shown import FIELDS, Told, events_of

SEEN_AT = 99.0
BEFORE = {
    "state": "queued",
    "kind": "program",
    "tenant": "acme",
    "display_name": "python 1 line",
    "submitted_at": "10.0",
}
CLAIMED = {"state": "starting", "claims": "1", "node": "n1", "claimed_at": "11.0"}
STARTED = {**CLAIMED, "state": "running", "runs": "1", "started_at": "12.0"}
ENDED = {**STARTED, "state": "finished", "finished_at": "15.0", "outcome": "ok", "exit_code": "0"}
AGAIN = {**STARTED, "state": "queued", "node": ""}
SECOND = {**STARTED, "claims": "2", "node": "n2", "claimed_at": "20.0"}
SENT, RECEIVED, RUNS = ("sent", "", 10.0), ("received", "n1", 11.0), ("started", "n1", 12.0)


def record(**changes: str) -> dict[str, str]:
    return {**dict.fromkeys(FIELDS, ""), **BEFORE, **changes}


@pytest.mark.parametrize(
    ("told", "now", "news"),
    [
        pytest.param(None, {}, [SENT], id="submitted, or parked behind others"),
        pytest.param(Told("queued"), {}, [], id="nothing new"),
        pytest.param(Told("queued"), CLAIMED, [RECEIVED], id="claimed"),
        pytest.param(Told("starting", 1, "n1"), STARTED, [RUNS], id="started"),
        pytest.param(Told("queued"), STARTED, [RECEIVED, RUNS], id="claimed and started at once"),
        pytest.param(Told("running", 1, "n1"), ENDED, [("succeeded", "n1", 15.0)], id="ended"),
        pytest.param(None, ENDED, [SENT, RECEIVED, RUNS, ("succeeded", "n1", 15.0)], id="over before anybody looked"),
        pytest.param(
            None, {"state": "finished", "finished_at": "15.0", "outcome": "cancelled"},
            [SENT, ("revoked", "", 15.0)], id="cancelled in its line",
        ),
        pytest.param(
            Told("starting", 1, "n1"), {**CLAIMED, "state": "finished", "finished_at": "15.0", "outcome": "cancelled"},
            [("revoked", "n1", 15.0)], id="cancelled while it was starting",
        ),
        pytest.param(Told("running", 1, "n1"), AGAIN, [("retried", "n1", SEEN_AT)], id="given back"),
        pytest.param(None, AGAIN, [SENT, ("retried", "", SEEN_AT)], id="given back before anybody looked"),
        pytest.param(Told("queued", 1), AGAIN, [], id="still waits for its next claim"),
        pytest.param(
            Told("queued", 1), {**SECOND, "state": "starting"}, [("received", "n2", 20.0)], id="claimed a second time"
        ),
        pytest.param(
            Told("running", 1, "n1"), {**SECOND, "started_at": "21.0"},
            [("retried", "n1", 20.0), ("received", "n2", 20.0), ("started", "n2", 21.0)], id="given back unseen",
        ),
        pytest.param(
            Told("queued", 1), {**SECOND, "state": "finished", "finished_at": "22.0", "outcome": "cancelled"},
            [("received", "n2", 20.0), ("revoked", "n2", 22.0)], id="cancelled in its second claim, not started again",
        ),
        pytest.param(None, {"kind": "file"}, [], id="a transfer of files"),
        pytest.param(Told("queued"), {"state": ""}, [], id="gone"),
    ],
)  # fmt: skip
def test_what_is_new_of_a_job_is_told_once_and_in_order(
    told: Told | None, now: dict[str, str], news: list[Any]
) -> None:
    events, _ = events_of("j", record(**now), told, SEEN_AT)

    assert [(event.type.removeprefix("task-"), event.node, event.at) for event in events] == news


@pytest.mark.parametrize(
    ("outcome", "exit_code", "event", "result"),
    [
        ("ok", "0", "task-succeeded", "ok"),
        ("error", "3", "task-succeeded", "error, exit code 3"),
        ("timeout", "", "task-succeeded", "timeout"),
        ("oom", "137", "task-succeeded", "oom, exit code 137"),
        ("cancelled", "", "task-revoked", "cancelled"),
        ("expired", "", "task-revoked", "expired"),
        ("rejected", "", "task-failed", "rejected"),
        ("lost", "", "task-failed", "lost"),
        ("infra", "", "task-failed", "infra"),
    ],
)
def test_the_outcome_is_the_result(outcome: str, exit_code: str, event: str, result: str) -> None:
    (end,), _ = events_of(
        "j", record(**{**ENDED, "outcome": outcome, "exit_code": exit_code}), Told("running", 1, "n1"), SEEN_AT
    )

    assert (end.type, end.fields["result"]) == (event, result)
    assert end.fields["runtime"] == 3.0
    assert end.fields.get("exception") == (outcome if event == "task-failed" else None)


def test_each_event_names_the_job_its_session_and_its_attempts() -> None:
    events, told = events_of("j", record(**{**ENDED, "session": "s", "runs": "2"}), None, SEEN_AT)

    assert told == Told("finished", 1, "n1")
    for event in events:
        assert (event.fields["uuid"], event.fields["name"]) == ("j", "leasebox.execute")
        assert (event.fields["args"], event.fields["kwargs"]) == ("python 1 line", "tenant=acme session=s")
        assert event.fields["retries"] == 1
