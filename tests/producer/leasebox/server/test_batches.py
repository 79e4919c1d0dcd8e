"""Do the routes of batches take lists and lines, refuse item by item, and stream what ends?"""

import json
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.server.conftest import Keyed

from leasebox import Client
from leasebox._ids import new_job_id
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys

LINES = {"Content-Type": "application/x-ndjson"}


def end_all(client: Client, played: Any) -> None:
    """Let a worker end what is queued."""
    for job in client.jobs("queued"):
        played.end(played.begin(job.id), stdout="out")


def test_a_list_is_queued_sealed_and_each_wrong_item_told(http: httpx2.Client):
    given = [{"code": "1", "key": "a"}, {"code": "1", "tiemout": 3}, 7, {"code": "1", "index": -1}, {"code": "2"}]

    answer = http.post("/v1/batches?name=nightly", json=given)

    made = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/batches/{made['id']}"
    assert (made["name"], made["total"], made["done"], made["sealed"]) == ("nightly", 2, 0, True)
    assert [(error["index"], error["code"]) for error in made["errors"]] == [(n, "invalid_spec") for n in (1, 2, 3)]
    assert [job["job"] is not None for job in made["jobs"]] == [True, False, False, False, True]
    standing = http.get(answer.headers["location"]).json()
    assert standing == {name: made[name] for name in standing}


def test_lines_are_taken_one_by_one_also_when_one_is_torn(http: httpx2.Client):
    answer = http.post("/v1/batches", content='{"code": "1"}\n\n{"code"\n{"code": NaN}\n{"code": "2"}', headers=LINES)

    assert answer.status_code == 202
    assert [error["index"] for error in answer.json()["errors"]] == [1, 2]
    assert answer.json()["total"] == 2


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ("[1", {"Content-Type": "application/json"}, 400),
        ("[NaN]", {"Content-Type": "application/json"}, 400),
        ('{"code": "1"}', {"Content-Type": "application/json"}, 422),
        (json.dumps([{"code": "1"}] * 1001), {"Content-Type": "application/json"}, 422),
        ('{"code": "1"}\n' * 1001, LINES, 422),
        ("[]", {"Content-Type": "text/plain"}, 415),
        ("x" * (17 << 20), LINES, 413),
    ],
)
def test_a_body_that_is_no_batch_is_refused_whole(http: httpx2.Client, content: str, headers: Any, status: int):
    answer = http.post("/v1/batches", content=content, headers=headers)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert http.get("/v1/jobs").json()["items"] == []


def test_a_thousand_are_taken_at_once(http: httpx2.Client):
    assert http.post("/v1/batches", json=[{"code": "1"}] * 1000).json()["total"] == 1000


def test_with_an_id_the_request_may_be_repeated(http: httpx2.Client):
    place, given = f"/v1/batches?id={new_job_id()}&seal=false", [{"code": "1"}, {"code": "1"}]

    first, second = http.post(place, json=given).json(), http.post(place, json=given).json()

    assert [job["job"] for job in first["jobs"]] == [job["job"] for job in second["jobs"]]
    assert [job["existing"] for job in second["jobs"]] == [True, True]
    assert second["total"] == 2


def test_an_open_batch_takes_further_jobs_until_it_is_sealed(http: httpx2.Client, client: Client, played: Any):
    batch = http.post("/v1/batches?seal=false", json=[{"code": "1"}]).json()["id"]

    assert http.post(f"/v1/batches/{batch}/jobs", json=[{"code": "2"}]).json()["total"] == 2
    assert http.post(f"/v1/batches/{batch}/seal").json()["sealed"]
    late = http.post(f"/v1/batches/{batch}/jobs", json=[{"code": "3"}]).json()

    assert [error["code"] for error in late["errors"]] == ["batch_closed"]
    end_all(client, played)
    found = [json.loads(line) for line in http.get(f"/v1/batches/{batch}/results").text.splitlines()]
    assert sorted((line["index"], line["result"]["stdout"]) for line in found) == [(0, "out"), (1, "out")]
    assert {"index", "key", "job", "result"} == set(found[0])


def test_events_are_frames_or_lines_and_go_on_behind_a_cursor(http: httpx2.Client, client: Client, played: Any):
    batch = http.post("/v1/batches", json=[{"code": "1", "key": "k"}, {"code": "2"}]).json()["id"]
    end_all(client, played)
    place = f"/v1/batches/{batch}/events"

    lines = [json.loads(line) for line in http.get(place, headers={"Accept": LINES["Content-Type"]}).text.splitlines()]
    rest = http.get(place, headers={"Last-Event-ID": lines[1]["id"]}).text

    assert [line["type"] for line in lines] == ["done", "done", "finished"]
    assert {line["key"] for line in lines[:2]} == {"k", None}
    assert [line for line in rest.splitlines() if line.startswith("id:")] == [f"id: {lines[2]['id']}"]
    assert "event: finished" in rest
    assert http.get(place, params={"after": lines[2]["id"]}).status_code == 204


def test_results_with_the_events_carry_both(http: httpx2.Client, client: Client, played: Any):
    batch = http.post("/v1/batches", json=[{"code": "1"}]).json()["id"]
    end_all(client, played)

    text = http.get(f"/v1/batches/{batch}/results", headers={"Accept": "text/event-stream"}).text

    data = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in data] == ["done", "finished"]
    assert data[0]["result"]["stdout"] == "out"


def test_a_result_that_is_no_longer_kept_has_its_line(http: httpx2.Client, client: Client, played: Any):
    made = http.post("/v1/batches", json=[{"code": "1", "key": "k"}, {"code": "2"}]).json()
    end_all(client, played)
    gone = made["jobs"][0]["job"]
    http.delete(f"/v1/jobs/{gone}")

    lines = [json.loads(line) for line in http.get(f"/v1/batches/{made['id']}/results").text.split("\n") if line]

    assert {"index": 0, "key": "k", "job": gone, "result": None} in lines
    assert sorted(line["index"] for line in lines) == [0, 1]


def test_results_that_cannot_go_on_break_off(
    http: httpx2.Client, client: Client, played: Any, redis: Any, settings: ClientSettings
):
    batch = http.post("/v1/batches?seal=false", json=[{"code": "1"}]).json()["id"]
    end_all(client, played)

    with http.stream("GET", f"/v1/batches/{batch}/results") as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["index"] == 0
        redis.delete(Keys(settings.prefix).batch(batch))
        with pytest.raises(httpx2.RemoteProtocolError):
            next(lines, None)


def test_cancel_ends_the_batch(http: httpx2.Client):
    batch = http.post("/v1/batches?seal=false", json=[{"code": "1"}] * 3).json()["id"]

    answer = http.post(f"/v1/batches/{batch}/cancel")

    assert answer.status_code == 202
    assert answer.json()["by_outcome"] == {"cancelled": 3}
    assert answer.json()["finished_at"] is not None


def test_a_full_queue_is_told_for_each_item_with_its_wait(http: httpx2.Client, redis: Any, prefix: str):
    redis.hset(f"{prefix}:settings", "queue_max_jobs", 1)

    made = http.post("/v1/batches", json=[{"code": "1"}] * 2).json()

    assert made["jobs"][1]["error"]["code"] == "queue_full"
    assert made["jobs"][1]["error"]["retry_after_s"] > 0


def test_another_tenants_batch_is_not_there_in_any_route(keyed: Keyed):
    with keyed.client(keyed.key("acme").key) as mine, keyed.client(keyed.key("other").key) as theirs:
        batch = mine.post("/v1/batches?seal=false", json=[{"code": "1"}]).json()["id"]
        asked = [
            theirs.get(f"/v1/batches/{batch}"),
            theirs.get(f"/v1/batches/{batch}/events"),
            theirs.get(f"/v1/batches/{batch}/events?after=1-1"),
            theirs.get(f"/v1/batches/{batch}/results"),
            theirs.post(f"/v1/batches/{batch}/seal"),
            theirs.post(f"/v1/batches/{batch}/cancel"),
            theirs.post(f"/v1/batches/{batch}/jobs", json=[{"code": "1"}]),
            theirs.post(f"/v1/batches?id={batch}", json=[{"code": "1"}]),
        ]

        assert [(answer.status_code, answer.json()["code"]) for answer in asked] == [(404, "unknown_batch")] * 8
        assert mine.get(f"/v1/batches/{batch}").json()["total"] == 1


def test_reading_needs_one_scope_and_writing_another(keyed: Keyed):
    with keyed.client(keyed.key("acme", "jobs:write").key) as writer:
        batch = writer.post("/v1/batches", json=[{"code": "1"}]).json()["id"]
        assert writer.get(f"/v1/batches/{batch}").status_code == 403
    with keyed.client(keyed.key("acme", "jobs:read").key) as reader:
        assert reader.get(f"/v1/batches/{batch}").status_code == 200
        refused = [reader.post(f"/v1/batches/{batch}/{verb}") for verb in ("seal", "cancel", "jobs")]
        assert [answer.status_code for answer in refused] == [403] * 3
        assert reader.post("/v1/batches", json=[]).status_code == 403
