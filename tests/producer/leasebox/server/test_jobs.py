"""Do the routes of jobs say what Redis holds, and refuse what cannot be?"""

import base64
import threading
from typing import Any

import httpx2
import pytest


def submit(http: httpx2.Client, **spec: Any) -> Any:
    answer = http.post("/v1/jobs", json={"code": "1", **spec})
    assert answer.status_code == 202, answer.text
    return answer.json()


def end(played: Any, job: str, **fields: Any) -> None:
    played.end(played.begin(job), **fields)


def test_a_submit_is_accepted_with_its_place(http: httpx2.Client):
    answer = http.post("/v1/jobs", json={"code": "print(1)", "metadata": {"a": "b"}})
    job = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["position"], job["existing"], job["result"]) == ("queued", 0, False, None)
    assert job["metadata"] == {"a": "b"}


def test_waiting_for_a_job_that_ends_answers_200_with_its_result(http: httpx2.Client, played: Any, eventually: Any):
    def work() -> None:
        (job,) = eventually(lambda: http.get("/v1/jobs", params={"state": "queued"}).json()["items"])
        end(played, job["id"], stdout="42\n")

    worker = threading.Thread(target=work)
    worker.start()
    answer = http.post("/v1/jobs", params={"wait": 20}, json={"code": "print(42)"})
    worker.join()

    assert answer.status_code == 200
    assert (answer.json()["outcome"], answer.json()["result"]["stdout"]) == ("ok", "42\n")


def test_waiting_ends_with_its_time(http: httpx2.Client):
    answer = http.post("/v1/jobs", params={"wait": 0.05}, json={"code": "1"})

    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


def test_an_idempotency_key_gives_the_same_job_and_another_spec_is_a_conflict(http: httpx2.Client):
    key = {"Idempotency-Key": "k"}
    first = http.post("/v1/jobs", json={"code": "1"}, headers=key).json()
    again = http.post("/v1/jobs", json={"code": "1"}, headers=key).json()
    other = http.post("/v1/jobs", json={"code": "2"}, headers=key)
    two = http.post("/v1/jobs", json={"code": "1", "idempotency_key": "other"}, headers=key)

    assert (again["id"], first["existing"], again["existing"]) == (first["id"], False, True)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert (two.status_code, two.json()["code"]) == (422, "invalid_spec")


def test_an_etag_names_this_very_state(http: httpx2.Client, played: Any):
    job = submit(http)["id"]
    tag = http.get(f"/v1/jobs/{job}").headers["etag"]

    assert http.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag}).status_code == 304
    end(played, job)
    changed = http.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["state"]) == (200, "finished")


def test_a_list_goes_on_where_its_page_ended_also_when_jobs_come_meanwhile(http: httpx2.Client):
    jobs = [submit(http)["id"] for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = http.get("/v1/jobs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in page["items"]]
        submit(http)
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == jobs[::-1]


@pytest.mark.parametrize("place", ['[NaN, "x"]', '[Infinity, "x"]', '["1"]', "{", ""])
def test_a_cursor_that_no_list_has_given_is_refused(http: httpx2.Client, place: str):
    answer = http.get("/v1/jobs", params={"cursor": base64.urlsafe_b64encode(place.encode()).decode()})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")


def test_a_list_is_filtered_by_state_session_and_metadata(http: httpx2.Client):
    one = submit(http, session="a", metadata={"team": "x", "n": "1"})["id"]
    two = submit(http, metadata={"team": "x"})["id"]
    http.post(f"/v1/jobs/{two}/cancel")

    def listed(**params: str) -> list[str]:
        return [job["id"] for job in http.get("/v1/jobs", params=params).json()["items"]]

    assert listed(session="a") == [one]
    assert listed(state="cancelled") == [two]
    assert listed(**{"metadata.team": "x"}) == [two, one]
    assert listed(**{"metadata.team": "x", "metadata.n": "1"}) == [one]


def test_a_queued_job_ends_with_its_cancel_and_can_then_be_forgotten(http: httpx2.Client):
    job = submit(http, idempotency_key="k")["id"]
    early = http.delete(f"/v1/jobs/{job}")
    cancelled = http.post(f"/v1/jobs/{job}/cancel")
    gone = http.delete(f"/v1/jobs/{job}")

    assert (early.status_code, early.json()["code"]) == (409, "wrong_state")
    assert (cancelled.status_code, cancelled.json()["outcome"]) == (202, "cancelled")
    assert (gone.status_code, gone.content) == (204, b"")
    assert http.get(f"/v1/jobs/{job}").status_code == 404
    assert http.get("/v1/jobs").json()["items"] == []
    assert submit(http, idempotency_key="k")["existing"] is False


def test_why_a_job_waits_is_told_in_sentences(http: httpx2.Client):
    assert http.get(f"/v1/jobs/{submit(http)['id']}/why").json()["why"]


def test_a_job_of_a_session_is_submitted_under_its_name(http: httpx2.Client):
    made = http.post("/v1/sessions/s/jobs", params={"idle_timeout_s": 60}, json={"code": "1"})
    wrong = http.post("/v1/sessions/s/jobs", json={"code": "1", "session": "t"})

    cell = http.post("/v1/sessions/s/jobs", json={"code": "1", "stateful": True})

    assert (made.status_code, made.json()["session"]) == (202, "s")
    assert (cell.status_code, cell.json()["session"]) == (202, "s")
    assert http.get("/v1/sessions/s").json()["idle_timeout_s"] == 60
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_spec")


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"cod": "1"}, "#/cod"),
        ({"code": "1", "limits": {"timeout_s": -1}}, "#/limits/timeout_s"),
        ({"code": "1", "limits": {"timeout_s": "inf"}}, "#/limits/timeout_s"),
        ({"code": "1", "env": {"A B": "secret-value"}}, "#/env"),
        ({"code": "1", "files": {"../a": {"text": ""}}}, "#/files/..~1a"),
        ([], "#"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not_told(http: httpx2.Client, spec: Any, pointer: str):
    answer = http.post("/v1/jobs", json=spec)
    told = answer.json()

    assert (answer.status_code, told["code"]) == (422, "invalid_spec")
    assert answer.headers["content-type"] == "application/problem+json"
    assert any((error.get("pointer") or "").startswith(pointer) for error in told["errors"])
    assert "secret-value" not in answer.text


def test_what_this_version_cannot_do_is_a_wrong_request(http: httpx2.Client):
    answer = http.post("/v1/jobs", json={"code": "1", "durable": True})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")


@pytest.mark.parametrize("route", ["", "/why", "/events"])
def test_an_unknown_job_is_404(http: httpx2.Client, route: str):
    answer = http.get(f"/v1/jobs/00000000-0000-7000-8000-000000000000{route}")

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")


def test_a_full_queue_is_429_and_says_when_to_try_again(http: httpx2.Client, redis: Any, prefix: str):
    redis.hset(f"{prefix}:settings", mapping={"queue_max_jobs": 1})
    submit(http)

    answer = http.post("/v1/jobs", json={"code": "1"})

    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1
