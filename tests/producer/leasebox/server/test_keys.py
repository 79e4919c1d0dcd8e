"""Do keys open what they may and nothing else, and is one tenant's work never there for another?"""

import time
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.server.conftest import PEPPER, Keyed

from leasebox import _access
from leasebox.config import ApiSettings
from leasebox.contract.keys import Keys
from leasebox.server import create_app

OPEN = {"/healthz", "/readyz", "/version"}
DOCUMENT = create_app(ApiSettings(url="redis://127.0.0.1:1/0", _env_file=None)).openapi()
ROUTES = [
    (method, path)
    for path, methods in sorted(DOCUMENT["paths"].items())
    for method in methods
    if path not in OPEN
]  # fmt: skip
UPLOAD = ("put", "/v1/sessions/{name}/files/{path}")
NAMED = [(method, path) for method, path in ROUTES if "{" in path and (method, path) != UPLOAD]
SHOWN = [path for method, path in ROUTES if method == "get" and "{" not in path]
BODIES: dict[str, Any] = {
    "/v1/jobs": {"code": "1"},
    "/v1/sessions": {"name": "s"},
    "/v1/sessions/{name}/jobs": {"code": "1"},
    "/v1/keys": {"tenant": "red", "scopes": ["admin"]},
    "/v1/batches": [{"code": "1"}],
    "/v1/batches/{batch}/jobs": [{"code": "1"}],
    "/v1/jobs/{job}/stdin": {"text": "x"},
    "/v1/sessions/{name}/files": {"verb": "list", "path": "."},
    "/v1/webhooks/test": {"url": "https://hooks.example.com/"},
}
NAMES = {"job": "j", "name": "s", "key": "k", "batch": "b", "path": "a.txt"}


def ask(http: httpx2.Client, method: str, path: str, **names: str) -> httpx2.Response:
    body = BODIES.get(path) if method == "post" else None
    return http.request(method.upper(), path.format(**{**NAMES, **names}), json=body)


@pytest.mark.parametrize("kind", ["none", "unknown", "malformed", "wrong secret", "expired", "revoked"])
def test_no_route_answers_without_a_good_key(keyed: Keyed, redis: Any, kind: str):
    good = keyed.key("red", "admin")
    keys = {
        "none": None,
        "unknown": f"lbx_{'a' * 16}_{'b' * 52}",
        "malformed": "lbx_x",
        "wrong secret": good.key[:-8] + "aaaaaaaa",
        "expired": keyed.key("red", "admin", expires_at=time.time() - 1).key,
        "revoked": good.key,
    }
    if kind == "revoked":
        redis.hset(Keys(keyed.settings.prefix).api_key(good.id), "revoked_at", "1")
    with keyed.client(keys[kind]) as http:
        answers = {route: ask(http, *route) for route in ROUTES}

    assert {route for route, answer in answers.items() if answer.status_code != 401} == set()
    assert {answer.json()["code"] for answer in answers.values()} == {"unauthorized"}
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers.values())


def test_either_header_carries_the_key(keyed: Keyed):
    key = keyed.key("red").key
    with keyed.client(None) as http:
        assert http.get("/v1/jobs", headers={"X-API-Key": key}).status_code == 200
        assert http.get("/v1/jobs", headers={"Authorization": f"bearer {key}"}).status_code == 200
        assert http.get("/v1/jobs", headers={"Authorization": f"Basic {key}"}).status_code == 401


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        (("jobs:read",), "get", "/v1/jobs", 200),
        (("jobs:read",), "post", "/v1/jobs", 403),
        (("jobs:write",), "post", "/v1/jobs", 202),
        (("jobs:write",), "get", "/v1/jobs", 403),
        (("sessions:*",), "post", "/v1/sessions", 200),
        (("sessions:*",), "get", "/v1/jobs", 403),
        (("sessions:*",), "post", "/v1/sessions/{name}/jobs", 403),
        (("sessions:*", "jobs:write"), "post", "/v1/sessions/{name}/jobs", 202),
        (("sessions:read",), "post", "/v1/sessions", 403),
        (("jobs:read", "jobs:write", "sessions:*"), "get", "/v1/keys", 403),
        (("admin",), "get", "/v1/keys", 200),
        (("admin",), "post", "/v1/jobs", 202),
    ],
)
def test_a_key_opens_what_its_scopes_say(keyed: Keyed, scopes: tuple[str, ...], method: str, path: str, status: int):
    with keyed.client(keyed.key("red", *scopes).key) as http:
        assert ask(http, method, path, name="s").status_code == status


@pytest.mark.parametrize(("method", "path"), NAMED)
def test_what_is_another_tenants_is_not_there(keyed: Keyed, played: Any, method: str, path: str):
    """Over every route of the document that names something."""
    with keyed.client(keyed.key("red").key) as red, keyed.client(keyed.key("blue").key) as blue:
        job = red.post("/v1/jobs", json={"code": "1", "session": "box"}).json()["id"]
        played.end(played.begin(job), stdout="red")
        batch = red.post("/v1/batches", json=[{"code": "1"}]).json()["id"]
        mine = ("/v1/sessions/box", f"/v1/jobs/{job}", f"/v1/batches/{batch}")
        before = [red.get(one).json() for one in mine]

        answer = ask(blue, method, path, job=job, name="box", batch=batch)
        lists = [blue.get("/v1/jobs").json()["items"], blue.get("/v1/sessions").json()["items"]]

        if path.startswith("/v1/keys"):
            assert answer.status_code == 403  # keys are the operator's alone
        elif method == "post" and path in ("/v1/sessions/{name}/jobs", "/v1/sessions/{name}/files"):
            assert answer.json()["id"] != job  # its own session of the same name
        else:
            assert answer.status_code == 404, answer.text
            assert lists == [[], []]
        assert "red" not in answer.text
        assert [red.get(one).json() for one in mine] == before


@pytest.mark.parametrize("path", SHOWN)
def test_what_names_nothing_tells_nothing_of_another_tenant(keyed: Keyed, played: Any, path: str):
    """Over every other route of the document that shows something: lists, figures, logs."""
    with keyed.client(keyed.key("red").key) as red, keyed.client(keyed.key("blue").key) as blue:
        job = red.post("/v1/jobs", json={"code": "1", "session": "crimson", "metadata": {"k": "scarlet"}}).json()["id"]
        played.end(played.begin(job), stdout="ruby")
        batch = red.post("/v1/batches", json=[{"code": "1"}]).json()["id"]
        waiting = red.post("/v1/jobs", json={"code": "1"}).json()["id"]

        answer = blue.get(path, params={"job": job, "session": "crimson", "batch": batch})

    assert answer.status_code in (200, 403, 404, 422), answer.text
    told = [word for word in ("red", "crimson", "scarlet", "ruby", job, batch, waiting) if f'"{word}"' in answer.text]
    assert told == []


def test_an_upload_to_another_tenants_session_goes_to_an_own_one(keyed: Keyed):
    with keyed.client(keyed.key("red").key) as red, keyed.client(keyed.key("blue").key) as blue:
        red.post("/v1/jobs", json={"code": "1", "session": "box"})
        before = red.get("/v1/sessions/box").json()

        with pytest.raises(httpx2.TimeoutException):  # no worker is there to carry it out
            blue.put("/v1/sessions/box/files/a.txt", content=b"x", timeout=1.0)

        assert red.get("/v1/sessions/box").json() == before
        assert blue.get("/v1/sessions/box").json()["pending"] == 1


def test_another_tenants_socket_is_404(keyed: Keyed):
    with keyed.client(keyed.key("red").key) as red, keyed.client(keyed.key("blue").key) as blue:
        job = red.post("/v1/jobs", json={"code": "1"}).json()["id"]
        with pytest.raises(Exception, match="404"), blue.websocket(f"/v1/jobs/{job}/ws"):
            pass
        with pytest.raises(Exception, match="401"), keyed.client(None).websocket(f"/v1/jobs/{job}/ws"):
            pass


def test_a_revoked_key_is_refused_within_five_seconds(keyed: Keyed, eventually: Any):
    issued = keyed.key("red")
    with keyed.client(issued.key) as red, keyed.client(keyed.key("ops", "admin").key) as ops:
        assert red.get("/v1/jobs").status_code == 200
        assert ops.delete(f"/v1/keys/{issued.id}").json()["revoked_at"] > 0

        eventually(lambda: red.get("/v1/jobs").status_code == 401, within_s=5)


def test_a_rotated_key_has_a_new_secret_and_the_earlier_one_ends(keyed: Keyed, eventually: Any):
    issued = keyed.key("red")
    with keyed.client(keyed.key("ops", "admin").key) as ops:
        fresh = ops.post(f"/v1/keys/{issued.id}/rotate").json()

    assert (fresh["id"], fresh["tenant"]) == (issued.id, "red")
    with keyed.client(fresh["key"]) as new, keyed.client(issued.key) as old:
        eventually(lambda: new.get("/v1/jobs").status_code == 200, within_s=5)
        eventually(lambda: old.get("/v1/jobs").status_code == 401, within_s=5)


def test_a_key_is_made_over_http_listed_without_its_secret_and_used(keyed: Keyed):
    with keyed.client(keyed.key("ops", "admin").key) as ops:
        made = ops.post("/v1/keys", json={"tenant": "red", "scopes": ["jobs:read"], "expires_in_s": 60}).json()
        listed = ops.get("/v1/keys")
        wrong = ops.post("/v1/keys", json={"tenant": "red", "scopes": ["root"]})

    assert made["key"] not in listed.text
    assert "digest" not in listed.text
    assert {key["id"] for key in listed.json()} >= {made["id"]}
    assert wrong.status_code == 422
    with keyed.client(made["key"]) as red:
        assert red.get("/v1/jobs").status_code == 200


def test_redis_has_neither_the_key_nor_anything_to_guess_it_by(keyed: Keyed, redis: Any):
    issued = keyed.key("red")
    kept = redis.hgetall(Keys(keyed.settings.prefix).api_key(issued.id))

    assert issued.key.encode() not in b" ".join(kept.values())
    assert kept[b"digest"].decode() == _access.digest(PEPPER.encode(), issued.key)
    assert kept[b"digest"].decode() != _access.digest(b"another pepper, 16", issued.key)


def test_an_api_without_keys_makes_none(http: httpx2.Client):
    answer = http.post("/v1/keys", json={"tenant": "red", "scopes": ["admin"]})

    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


def test_how_the_installation_does_is_told_to_those_who_may_read_alone(keyed: Any) -> None:
    found = [keyed.client(key).get("/readyz") for key in (None, "lbx_no_such", keyed.key("acme", "jobs:write").key)]
    reader = keyed.client(keyed.key("acme", "jobs:read").key).get("/readyz").json()

    assert [(ready.status_code, len(ready.json()["checks"])) for ready in found] == [(200, 2)] * 3
    assert {check["name"] for check in reader["checks"]} > {"queues", "lost_nodes", "memory", "webhooks"}
