"""Do the routes of sessions say what Redis holds?"""

import httpx2
import pytest


def test_a_session_is_made_found_touched_and_closed(http: httpx2.Client):
    made = http.post("/v1/sessions", json={"name": "s", "idle_timeout_s": 60})
    found = http.post("/v1/sessions", json={"name": "s"})
    touched = http.post("/v1/sessions/s/touch")
    closed = http.delete("/v1/sessions/s")
    late = http.post("/v1/sessions/s/touch")

    assert (made.status_code, made.json()["state"], made.headers["location"]) == (200, "new", "/v1/sessions/s")
    assert found.json()["idle_timeout_s"] == 60
    assert touched.json()["expires_at"] > made.json()["expires_at"]
    assert (closed.status_code, closed.json()["close_reason"]) == (200, "closed")
    assert (late.status_code, late.json()["code"]) == (410, "session_expired")
    assert "closed" in late.json()["detail"]


def test_a_session_without_a_name_gets_one(http: httpx2.Client):
    name = http.post("/v1/sessions", json={}).json()["name"]

    assert http.get(f"/v1/sessions/{name}").json()["name"] == name


def test_sessions_are_listed_by_pages(http: httpx2.Client):
    for name in "dbace":
        http.post("/v1/sessions", json={"name": name})
    first = http.get("/v1/sessions", params={"limit": 3}).json()
    second = http.get("/v1/sessions", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [session["name"] for session in first["items"] + second["items"]] == list("abcde")
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "a b"}, 422, "invalid_spec"),
        ({"name": "s", "idle_timeout_s": 0}, 422, "invalid_spec"),
        ({"name": "s", "idle_timeout_s": 1e9}, 422, "invalid_spec"),
        ({"name": "s", "stateful": True}, 422, "invalid_spec"),
        ({"name": "gone", "must_exist": True}, 410, "session_expired"),
    ],
)
def test_what_cannot_be_is_refused(http: httpx2.Client, body: dict[str, object], status: int, code: str):
    answer = http.post("/v1/sessions", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(("method", "route"), [("GET", ""), ("DELETE", ""), ("POST", "/touch")])
def test_an_unknown_session_is_404(http: httpx2.Client, method: str, route: str):
    answer = http.request(method, f"/v1/sessions/never{route}")

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_session")
