"""Is only strict JSON of a bounded size taken, and is everything else one clear refusal?"""

import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from leasebox.server.bodies import MAX_BODY_BYTES, parse

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' twice"),
        (b'{"a": {"x": 1, "x": 1}}', "'x' twice"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, "deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_what_is_not_strict_json_is_refused_in_words(raw: bytes, words: str):
    with pytest.raises(ValueError, match=words):
        parse(raw)


@pytest.mark.parametrize("raw", [b"{", b'{"code": "1", "code": "2"}', b"[" * 50_000, b'{"code": NaN}', b"\xff"])
def test_a_broken_body_is_400(http: httpx2.Client, raw: bytes):
    answer = http.post("/v1/jobs", content=raw, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_spec")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_of_another_type_is_415(http: httpx2.Client, kind: str):
    answer = http.post("/v1/jobs", content=b'{"code": "1"}', headers={"Content-Type": kind} if kind else {})

    assert answer.status_code == 415


def test_a_body_at_the_bound_is_read_and_one_byte_more_is_413(http: httpx2.Client):
    fill = MAX_BODY_BYTES - len('{"code": ""}')

    assert http.post("/v1/jobs", content=b'{"code": "%s"}' % (b"x" * fill), headers=JSON).status_code == 422
    assert http.post("/v1/jobs", content=b'{"code": "%s"}' % (b"x" * (fill + 1)), headers=JSON).status_code == 413


def test_a_body_without_a_length_is_bounded_too(http: httpx2.Client):
    parts = (b"x" * (1 << 20) for _ in range((MAX_BODY_BYTES >> 20) + 1))

    assert http.post("/v1/jobs", content=parts, headers=JSON).status_code == 413


def test_a_body_far_beyond_the_bound_is_not_read_to_its_end(http: httpx2.Client):
    place = urlsplit(str(http.base_url))
    with socket.create_connection((place.hostname, place.port), timeout=10) as endless:
        endless.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        endless.sendall(b"Content-Length: %d\r\n\r\n" % (4 * MAX_BODY_BYTES))

        assert endless.recv(12) == b"HTTP/1.1 413"


def test_a_client_that_stops_in_its_body_does_not_hold_up_the_others(http: httpx2.Client):
    place = urlsplit(str(http.base_url))
    with socket.create_connection((place.hostname, place.port)) as slow:
        slow.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n")
        slow.sendall(b"Content-Type: application/json\r\n\r\n{")

        assert http.get("/healthz").status_code == 200
        assert http.post("/v1/jobs", json={"code": "1"}).status_code == 202


def test_a_route_and_a_method_that_are_not_there_are_problems_too(http: httpx2.Client):
    unknown, slash, wrong = http.get("/v1/nothing"), http.post("/v1/jobs/", json={"code": "1"}), http.put("/v1/jobs")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (slash.status_code, slash.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"] or "POST" in wrong.headers["allow"]


def test_every_answer_names_its_request(http: httpx2.Client):
    given = http.get("/v1/jobs/none", headers={"X-Request-Id": "mine-1"})
    made = http.get("/healthz", headers={"X-Request-Id": "bad id\x7f"[:6]})

    assert (given.headers["x-request-id"], given.json()["request_id"]) == ("mine-1", "mine-1")
    assert len(made.headers["x-request-id"]) == 36
