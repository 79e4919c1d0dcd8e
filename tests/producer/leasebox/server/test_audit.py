"""Does the audit log say who did what to what over HTTP, refusals too, and nothing that is not its business?"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.served import served
from tests.producer.leasebox.server.conftest import Failing, Keyed

from leasebox import _audit
from leasebox._redis import AsyncRedisTransport, RedisTransport
from leasebox.config import ClientSettings
from leasebox.contract.audit import Door, Record, Signer, signer_of
from leasebox.contract.keys import Keys
from leasebox.server.audited import REFUSALS, WINDOW_S, Sieve
from leasebox.server.service import Caller
from leasebox.server.trail import Trail

KEY = "a key of 16 bytes"
SECRETS = ("print('my code')", "my-secret-value", "content of a file", "my argument")
Entries = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def entries(settings: ClientSettings, eventually: Any) -> Entries:
    """Entries of the chain, once there are so many that match."""
    run, keys = RedisTransport(str(settings.url)).run, Keys(settings.prefix)

    def wait(least: int = 1, **fields: object) -> list[dict[str, Any]]:
        def matching() -> list[dict[str, Any]]:
            found = run(_audit.after(keys, 0, 1000))
            return [one for one in found if all(one[name] == value for name, value in fields.items())]

        eventually(lambda: len(matching()) >= least, within_s=20)
        return matching()

    return wait


def of(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["action"], entry["target"], entry["result"]


def test_an_upload_that_was_not_carried_out_is_not_told_as_done(http: httpx2.Client, fail: Failing, entries: Entries):
    http.post("/v1/sessions", json={"name": "s"})
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(http.put, "/v1/sessions/s/files/f", content=b"x")
        fail("infra")
        assert answer.result(20).status_code == 503

    assert [of(one) for one in entries(action="file.write")] == [("file.write", "s/f", "infra")]


def test_what_a_key_does_is_told_with_its_id_and_nothing_else_of_it(keyed: Keyed, played: Any, entries: Entries):
    key = keyed.key("red")
    spec = {"code": SECRETS[0], "env": {"A": SECRETS[1]}, "files": {"a": {"text": SECRETS[2]}}, "args": [SECRETS[3]]}
    with keyed.client(key.key) as red:
        assert red.post("/v1/sessions", json={"name": "box"}).status_code == 200
        submitted = red.post("/v1/jobs", json=spec, headers={"X-Request-Id": "mine"})
        job = submitted.json()["id"]
        in_session = red.post("/v1/sessions/box/jobs", json={"code": "1"}).json()["id"]
        batch = red.post("/v1/batches", json=[{"code": "1"}, {"x": "1"}]).json()["id"]
        red.post(f"/v1/batches/{batch}/cancel")
        red.post(f"/v1/jobs/{job}/cancel")
        red.delete(f"/v1/jobs/{job}")
        red.delete("/v1/sessions/box")
        red.get("/v1/jobs")
        red.post(f"/v1/jobs/{in_session}/stdin", json={"text": "x"})
    found = entries(8, tenant="red")

    assert [of(one) for one in found] == [
        ("session.open", "box", "ok"),
        ("job.submit", job, "ok"),
        ("job.submit", in_session, "ok"),
        ("batch.submit", batch, "ok"),
        ("batch.cancel", batch, "ok"),
        ("job.cancel", job, "ok"),
        ("job.erase", job, "ok"),
        ("session.close", "box", "ok"),
    ]
    assert {(one["actor"], one["door"]) for one in found} == {(key.id, "http")}
    assert (found[1]["request"], found[1]["more"]["address"]) == ("mine", "127.0.0.1")
    assert found[2]["more"]["session"] == "box"
    assert (found[3]["more"]["jobs"], found[3]["more"]["refused"]) == (2, 1)
    told = json.dumps(found)
    assert not [word for word in (*SECRETS, key.key) if word in told]


def test_keys_are_told_by_their_ids(keyed: Keyed, entries: Entries):
    ops = keyed.key("ops", "admin")
    with keyed.client(ops.key) as http:
        made = http.post("/v1/keys", json={"tenant": "red", "scopes": ["jobs:read"]}).json()
        fresh = http.post(f"/v1/keys/{made['id']}/rotate").json()
        http.delete(f"/v1/keys/{made['id']}")
    found = entries(3, actor=ops.id)

    assert [of(one) for one in found] == [
        (f"key.{word}", made["id"], "ok") for word in ("create", "rotate", "revoke")
    ]  # fmt: skip
    assert (found[0]["more"]["of"], found[0]["more"]["scopes"]) == ("red", "jobs:read")
    told = json.dumps(found)
    assert not [key for key in (made["key"], fresh["key"], ops.key) if key in told]


def test_refusals_are_told(keyed: Keyed, entries: Entries):
    weak, bad = keyed.key("red", "jobs:read"), keyed.key("blue")
    with keyed.client(weak.key) as red, keyed.client(bad.key[:-4] + "aaaa") as wrong, keyed.client(None) as nobody:
        red.post("/v1/jobs", json={"code": "1"})
        red.get("/v1/keys")
        wrong.get("/v1/jobs")
        nobody.get("/v1/jobs/j")
        keyed.client(keyed.key("green").key).post("/v1/jobs", json={"code": "1", "language": "cobol"})
    found = entries(5)

    assert [(one["tenant"], one["actor"], one["action"], one["result"]) for one in found[:4]] == [
        ("red", weak.id, "job.submit", "forbidden"),
        ("red", weak.id, "GET /v1/keys", "forbidden"),
        ("", bad.id, "GET /v1/jobs", "unauthorized"),
        ("", "", "GET /v1/jobs/{job}", "unauthorized"),
    ]
    assert (found[4]["tenant"], found[4]["action"], found[4]["result"]) == ("green", "job.submit", "invalid_spec")


def test_who_asks_for_what_is_another_tenants_is_told_and_who_asks_for_nothing_is_not(keyed: Keyed, entries: Entries):
    red, blue = keyed.key("red"), keyed.key("blue")
    with keyed.client(red.key) as mine, keyed.client(blue.key) as other:
        job = mine.post("/v1/jobs", json={"code": "1"}).json()["id"]
        batch = mine.post("/v1/batches", json=[{"code": "1"}]).json()["id"]
        other.get("/v1/jobs/nothing")
        other.get(f"/v1/jobs/{job}/events")
        other.get(f"/v1/batches/{batch}")
        other.delete(f"/v1/jobs/{job}")
        other.delete("/v1/jobs/nothing")
        with pytest.raises(Exception, match="404"), other.websocket(f"/v1/jobs/{job}/ws"):
            pass
    found = entries(5, tenant="blue")

    assert sorted((one["action"], one["target"], one["more"].get("owner", "")) for one in found) == sorted(
        [
            ("GET /v1/jobs/{job}/events", job, "another tenant"),
            ("GET /v1/batches/{batch}", batch, "another tenant"),
            ("job.erase", job, "another tenant"),
            ("job.erase", "nothing", ""),
            ("WEBSOCKET /v1/jobs/{job}/ws", job, "another tenant"),
        ]
    )


def test_a_cancel_over_a_websocket_is_told(http: httpx2.Client, entries: Entries):
    job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    with http.websocket(f"/v1/jobs/{job}/ws") as socket:
        socket.send_text('{"type": "cancel"}')
        (found,) = entries(1, action="job.cancel")

    assert (found["target"], found["actor"], found["tenant"]) == (job, "local", "default")


def test_what_is_done_on_the_page_is_told_too(keyed: Keyed, entries: Entries):
    red = keyed.key("red")
    with keyed.client(None) as browser:
        browser.headers["Origin"] = keyed.url
        browser.get("/")
        browser.post("/page/key", data={"key": red.key[:-4] + "aaaa"})
        browser.post("/page/key", data={"key": red.key})
        browser.post("/page/sessions/box/close", data={"token": "forged"})
    found = entries(3)

    assert [(one["action"], one["actor"], one["tenant"], one["result"]) for one in found] == [
        ("page.enter", red.id, "", "unauthorized"),
        ("page.enter", red.id, "red", "ok"),
        ("session.close", red.id, "red", "forbidden"),
    ]
    assert red.key not in json.dumps(found)


def test_a_foreign_host_at_an_api_without_keys_is_told(http: httpx2.Client, entries: Entries):
    http.get("/v1/jobs", headers={"Host": "evil.example"})
    (found,) = entries()

    assert (found["action"], found["actor"], found["result"]) == ("GET /v1/jobs", "", "forbidden")


def test_what_was_not_written_yet_is_written_when_the_api_stops(settings: ClientSettings, entries: Entries):
    with served(settings) as url, httpx2.Client(base_url=url) as http:
        for _ in range(20):
            http.post("/v1/sessions", json={"name": "box"})
    run, keys = RedisTransport(str(settings.url)).run, Keys(settings.prefix)

    assert len(run(_audit.after(keys, 0, 1000))) == 20
    assert run(_audit.verify(keys, Signer())).is_sound


async def test_an_api_that_stops_writes_what_waits(settings: ClientSettings):
    transport, keys = AsyncRedisTransport(str(settings.url)), Keys(settings.prefix)
    trail = Trail(keys, Signer(), transport.run)
    scope = {"method": "POST", "path": "/v1/jobs", "client": None}
    for n in range(REFUSALS + 5):
        trail.answered({**scope, "state": {"caller": Caller("red", None), "request_id": str(n)}}, 403)
    await trail.end()
    found = await transport.run(_audit.after(keys, 0, 1000))
    await transport.close()

    assert [one["request"] for one in found[:REFUSALS]] == [str(n) for n in range(REFUSALS)]
    assert [(one["action"], one["more"]["count"]) for one in found[REFUSALS:]] == [("refusals", 5)]


async def test_what_an_api_that_stops_cannot_write_is_said(settings: ClientSettings, redis: Any, caplog: Any):
    transport, keys = AsyncRedisTransport(str(settings.url)), Keys(settings.prefix)
    redis.set(keys.audit_head(), "in the way")
    trail = Trail(keys, Signer(), transport.run)
    trail.answered({"method": "GET", "path": "/", "state": {}, "client": None}, 401)
    await trail.end()
    await transport.close()

    assert "1 entries of the audit log are lost" in caplog.text


def test_two_apis_write_one_chain_under_the_key(settings: ClientSettings, entries: Entries):
    run, keys = RedisTransport(str(settings.url)).run, Keys(settings.prefix)
    with served(settings, audit_key=KEY) as one, served(settings, audit_key=KEY) as other:
        for number in range(10):
            for url in (one, other):
                httpx2.post(f"{url}/v1/sessions", json={"name": f"s{number}"})
        entries(20)
    report = run(_audit.verify(keys, signer_of(KEY)))

    assert (report.faults, report.entries, report.signed) == ([], 20, 20)


def test_records_wait_while_redis_is_away(settings: ClientSettings, new_redis: Any, eventually: Any):
    server = new_redis()
    own = settings.model_copy(update={"url": server.url})
    run, keys = RedisTransport(server.url).run, Keys(settings.prefix)
    with served(own) as url, httpx2.Client(base_url=url, timeout=30) as http, server.connect() as redis:
        redis.set(keys.audit_head(), "in the way")  # as good as away, for the chain alone
        assert http.post("/v1/sessions", json={"name": "box"}).status_code == 200
        eventually(lambda: "errorstat_WRONGTYPE" in redis.info("errorstats"), within_s=20)
        redis.delete(keys.audit_head())
        (entry,) = eventually(lambda: run(_audit.after(keys, 0, 9)), within_s=20)

    assert of(entry) == ("session.open", "box", "ok")


def test_the_operator_reads_it_over_http(keyed: Keyed, entries: Entries):
    with keyed.client(keyed.key("ops", "admin").key) as ops, keyed.client(keyed.key("red").key) as red:
        for _ in range(3):
            red.post("/v1/sessions", json={"name": "box"})
        entries(3)

        assert [one["n"] for one in ops.get("/v1/audit?limit=2").json()] == [2, 3]
        assert [one["n"] for one in ops.get("/v1/audit?after=1").json()] == [2, 3]
        assert ops.get("/v1/audit").json() == entries(3)
        assert red.get("/v1/audit").status_code == 403
        assert ops.get("/v1/audit?after=-1").status_code == 422


def refusal(actor: str, tenant: str = "red") -> Record:
    return Record(at=1.0, door=Door.HTTP, action="a", actor=actor, tenant=tenant, result="forbidden")


def test_a_flood_of_refusals_is_counted_and_hides_nobody_elses():
    sieve = Sieve()
    passed = [sieve.passes(refusal("k"), 0.0) for _ in range(REFUSALS + 5)]

    assert passed == [True] * REFUSALS + [False] * 5
    assert sieve.passes(refusal("other"), 0.0)
    assert sieve.counted(WINDOW_S - 1) == []
    (counted,) = sieve.counted(WINDOW_S)
    assert (counted.action, counted.actor, counted.result, counted.more) == ("refusals", "k", "forbidden", {"count": 5})
    assert sieve.passes(refusal("k"), WINDOW_S)


def test_who_shows_no_good_key_is_counted_together_whatever_id_is_shown():
    sieve = Sieve()

    assert sum(sieve.passes(refusal(str(n), tenant=""), 0.0) for n in range(REFUSALS * 2)) == REFUSALS
    assert sieve.counted(0.0, is_last=True)[0].more == {"count": REFUSALS}
