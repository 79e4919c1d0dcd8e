"""Who may come in where no key is asked for?"""

import httpx2
import pytest
from starlette.datastructures import Headers
from tests.producer.leasebox.served import served

from leasebox.config import ClientSettings
from leasebox.server.gate import is_loopback, objection


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("api.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool):
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("client", "headers", "may"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8707"}, True),
        (None, {"host": "localhost"}, True),
        ("10.0.0.9", {"host": "127.0.0.1:8707"}, False),
        ("127.0.0.1", {"host": "rebound.example:8707"}, False),
        ("127.0.0.1", {"host": "localhost:8707", "origin": "http://localhost:8707"}, True),
        ("127.0.0.1", {"host": "localhost:8707", "origin": "http://localhost:3000"}, False),
        ("127.0.0.1", {"host": "localhost:8707", "origin": "https://evil.example"}, False),
        ("127.0.0.1", {"host": "localhost:8707", "origin": "null"}, False),
        ("127.0.0.1", {"host": "localhost:8707", "origin": "https://ours.example"}, True),
    ],
)
def test_without_keys_this_machine_and_known_pages_alone_come_in(
    client: str | None, headers: dict[str, str], may: bool
):
    origins = ["https://ours.example"]

    assert (objection(Headers(headers), client, has_keys=False, origins=origins) is None) is may
    assert objection(Headers(headers), client, has_keys=True, origins=origins) is None


def test_a_page_of_another_origin_is_403(http: httpx2.Client):
    answer = http.post("/v1/jobs", json={"code": "1"}, headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert http.get("/v1/jobs").json()["items"] == []


def test_a_socket_of_another_origin_is_403(http: httpx2.Client):
    job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]

    strange = {"Origin": "https://evil.example"}
    with pytest.raises(Exception, match="403"), http.websocket(f"/v1/jobs/{job}/ws", headers=strange):
        pass


def test_cors_is_off_unless_an_origin_is_named(http: httpx2.Client, settings: ClientSettings):
    ask = {"Origin": "https://ours.example", "Access-Control-Request-Method": "POST"}
    with served(settings, cors_origins=("https://ours.example",)) as url, httpx2.Client(base_url=url) as named:
        allowed = named.options("/v1/jobs", headers=ask)
        other = named.options("/v1/jobs", headers={**ask, "Origin": "https://evil.example"})

    assert "access-control-allow-origin" not in http.options("/v1/jobs", headers=ask).headers
    assert allowed.headers["access-control-allow-origin"] == "https://ours.example"
    assert "access-control-allow-origin" not in other.headers
