"""What may be written to a job over HTTP, and what is refused?"""

import base64
from typing import Any

import httpx2
import pytest


@pytest.fixture
def job(http: httpx2.Client) -> str:
    return str(http.post("/v1/jobs", json={"code": "1", "stdin_open": True}).json()["id"])


@pytest.fixture
def stream(redis: Any, settings: Any, job: str) -> Any:
    """What stands in the job's input."""
    return lambda: [
        (fields[b"data"], fields[b"eof"] == b"1") for _, fields in redis.xrange(f"{settings.prefix}:job:{job}:stdin")
    ]


def test_text_bytes_and_the_end_arrive_in_order(http: httpx2.Client, job: str, stream: Any) -> None:
    raw = bytes(range(256))
    bodies = [{"text": "é\n"}, {"base64": base64.b64encode(raw).decode()}, {"text": "last", "eof": True}]
    statuses = [http.post(f"/v1/jobs/{job}/stdin", json=body).status_code for body in bodies]

    assert statuses == [204] * 3
    assert stream() == [("é\n".encode(), False), (raw, False), (b"last", True)]


def test_a_piece_that_is_sent_again_is_one(http: httpx2.Client, job: str, stream: Any) -> None:
    for n in (1, 1, 2, 1):
        answer = http.post(f"/v1/jobs/{job}/stdin", json={"text": f"{n}", "writer": "w", "n": n})
        assert answer.status_code == 204

    assert stream() == [(b"1", False), (b"2", False)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "a", "base64": "YQ=="},
        {"base64": "!"},
        {"text": "a", "writer": "w"},
        {"text": "a", "n": 1},
        {"text": "a", "writer": "w", "n": 0},
        {"text": "a", "writer": "a b", "n": 1},
        {"text": "x" * ((256 << 10) + 1)},
        {"data": "a"},
    ],
)
def test_what_is_no_piece_of_input_is_refused(http: httpx2.Client, job: str, stream: Any, body: Any) -> None:
    answer = http.post(f"/v1/jobs/{job}/stdin", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    assert stream() == []


def test_what_nobody_reads_is_refused_beyond_a_mebibyte_and_says_when_to_come_again(
    http: httpx2.Client, job: str, stream: Any
) -> None:
    answers = [http.post(f"/v1/jobs/{job}/stdin", json={"text": "x" * (256 << 10)}) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [204] * 4 + [429]
    assert answers[-1].json()["code"] == "queue_full"
    assert answers[-1].headers["Retry-After"] == "1"
    assert len(stream()) == 4


def test_a_job_that_takes_no_input_and_one_that_is_over_are_conflicts(http: httpx2.Client, job: str) -> None:
    closed = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    http.post(f"/v1/jobs/{job}/cancel")
    answers = [http.post(f"/v1/jobs/{each}/stdin", json={"text": "a"}) for each in (closed, job)]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "wrong_state")] * 2


def test_an_unknown_job_is_404(http: httpx2.Client) -> None:
    assert http.post("/v1/jobs/none/stdin", json={"text": "a"}).status_code == 404


def test_another_tenants_job_is_unknown_and_a_key_for_reading_writes_nothing(keyed: Any) -> None:
    owner, stranger = keyed.key("acme").key, keyed.key("other").key
    reader = keyed.key("acme", "jobs:read").key
    with keyed.client(owner) as http:
        made = http.post("/v1/jobs", json={"code": "1", "stdin_open": True}).json()["id"]
    statuses = []
    for key in (owner, stranger, reader):
        with keyed.client(key) as http:
            statuses.append(http.post(f"/v1/jobs/{made}/stdin", json={"text": "a"}).status_code)

    assert statuses == [204, 404, 403]
