"""Is everything that a request says beside its body heeded, or refused?"""

import json
import re
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.producer.leasebox.server.conftest import Keyed

from leasebox.config import ApiSettings
from leasebox.server import create_app


class Route(NamedTuple):
    """One route of the document."""

    method: str
    path: str
    told: Any

    def parameters(self, place: str) -> list[str]:
        """Those that it declares there."""
        return sorted(given["name"] for given in self.told.get("parameters", []) if given["in"] == place)

    def asked(self, http: httpx2.Client, **more: Any) -> tuple[int, str, str]:
        """Status, detail and hint of the answer to a request with a body of the right kind."""
        given = {"json": {}} if "application/json" in self.told.get("requestBody", {}).get("content", {}) else {}
        told = http.request(self.method, re.sub(r"\{\w+\}", "x", self.path), **given, **more)
        return told.status_code, told.json()["detail"], told.json().get("hint", "")


DOCUMENT = create_app(ApiSettings(url="redis://127.0.0.1:1/0", _env_file=None)).openapi()
ROUTES = [
    Route(method.upper(), path, told)
    for path, methods in DOCUMENT["paths"].items()
    for method, told in methods.items()
    if path.startswith("/v1/")
]
CHANGING = [route for route in ROUTES if route.method != "GET"]


def test_a_parameter_that_a_route_has_not_is_refused_with_those_that_it_has(http: httpx2.Client):
    for route in ROUTES:
        known = route.parameters("query")
        known += ["metadata.NAME"] * (route[:2] == ("GET", "/v1/jobs"))

        refused = route.asked(http, params={"extarct": "tar"})

        assert refused == (422, "extarct: unknown parameter", f"known: {', '.join(known) or 'none'}"), route[:2]
        assert "422" in route.told["responses"]


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
def test_a_change_under_a_condition_that_is_not_checked_is_refused(http: httpx2.Client, name: str):
    for route in CHANGING:
        refused = route.asked(http, headers={name: "*"})

        assert refused == (422, f"{name}: no condition of a change is checked here; nothing was done", ""), route[:2]


def test_a_key_of_idempotency_that_a_route_does_not_take_is_refused(http: httpx2.Client):
    takes = [route for route in CHANGING if "idempotency-key" in map(str.lower, route.parameters("header"))]
    harmless = [route for route in CHANGING if route.path.endswith(("/cancel", "/seal", "/touch"))]
    others = [route for route in CHANGING if route.method == "POST" and route not in (*takes, *harmless)]
    for route in others:
        refused = route.asked(http, headers={"Idempotency-Key": "k"})

        assert refused == (422, "Idempotency-Key: not taken by this route; nothing was done", ""), route[:2]
    assert (len(takes), len(harmless)) == (5, 4)
    for route in harmless:
        assert "Idempotency-Key" not in route.asked(http, headers={"Idempotency-Key": "k"})[1], route[:2]


@pytest.mark.parametrize("query", ["limit=1&limit=2", "metadata.a=1&metadata.a=2"])
def test_a_parameter_that_comes_twice_is_refused(http: httpx2.Client, query: str):
    answer = http.get(f"/v1/jobs?{query}")

    assert (answer.status_code, answer.json()["detail"][-11:]) == (422, "given twice")


def test_what_is_refused_cannot_steer_a_terminal(http: httpx2.Client):
    assert http.get("/v1/jobs?%1b[2J=1").json()["detail"] == r"['\x1b[2J']: unknown parameter"


def test_metadata_may_have_a_dot_and_a_dot_alone_is_no_metadata(http: httpx2.Client):
    http.post("/v1/jobs", json={"code": "1", "metadata": {"a.b": "c"}})

    assert len(http.get("/v1/jobs", params={"metadata.a.b": "c"}).json()["items"]) == 1
    assert http.get("/v1/jobs", params={"a.b": "c"}).status_code == 422


def test_a_websocket_has_its_parameter_and_no_other(http: httpx2.Client):
    job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]

    with http.websocket(f"/v1/jobs/{job}/ws", params={"after": "0-0"}) as socket:
        assert json.loads(socket.receive_text())["type"] == "queued"
    with pytest.raises(Exception, match="422"), http.websocket(f"/v1/jobs/{job}/ws", params={"afer": "0-0"}):
        pass


def test_pages_health_and_metrics_heed_what_they_know(http: httpx2.Client):
    asked = {path: http.get(path, params={"utm_source": "x"}) for path in ("/", "/docs", "/healthz", "/metrics")}

    assert {path: answer.status_code for path, answer in asked.items()} == dict.fromkeys(asked, 200)


def test_who_may_not_ask_is_told_that_first(keyed: Keyed):
    assert keyed.client(None).get("/v1/jobs?x=1").status_code == 401
    assert keyed.client(keyed.key("acme", "jobs:read").key).post("/v1/blobs?x=1", content=b"x").status_code == 403
