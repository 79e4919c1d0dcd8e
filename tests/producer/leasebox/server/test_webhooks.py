"""Do the routes of webhooks show, repeat and try what is the caller's own? A worker's deliverer is really there."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.server.conftest import Keyed
from tests.worker.webhooks.receiver import Receiver, receiving

from leasebox import Client
from leasebox.contract.errors import InvalidSpec
from leasebox_worker.lifecycle.beat import Beat
from leasebox_worker.webhooks.deliverer import Deliverer
from leasebox_worker.webhooks.post import Poster

HERE = "127.0.0.1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On this machine."""
    with receiving() as made:
        yield made


@pytest.fixture
def node(redis: Any, played: Any) -> Any:
    """A node that sends webhooks, also to this machine."""
    redis.hset(played.keys.settings(), mapping={"webhook_allow": HERE, "max_age_s": 60})
    return Deliverer(redis, played.keys, Poster(bytes(32), {HERE}))


def test_deliveries_of_a_job_are_listed_and_replayed(http: httpx2.Client, node: Any, receiver: Receiver):
    job = http.post("/v1/jobs", json={"code": "1", "callback_url": receiver.url(HERE)}).json()["id"]
    early = http.post(f"/v1/webhooks/{job}/replay")
    http.post(f"/v1/jobs/{job}/cancel")
    receiver.statuses = [500]
    node.look()
    again = http.post(f"/v1/webhooks/{job}/replay")
    node.look()

    first, second = http.get("/v1/webhooks", params={"job": job}).json()
    assert (early.status_code, early.json()["code"], again.status_code) == (409, "wrong_state", 202)
    assert (first["status"], first["error"], first["attempt"]) == (500, "answered 500", 1)
    assert first["next_at"] == pytest.approx(first["at"] + 5)
    assert second == {
        "at": second["at"], "url": receiver.url(HERE), "status": 204, "error": None, "attempt": 1, "next_at": None,
    }  # fmt: skip
    assert receiver.ids == [job, job]


def test_a_job_without_a_callback_has_no_deliveries_and_no_replay(http: httpx2.Client, played: Any):
    job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]

    assert http.get("/v1/webhooks", params={"job": job}).json() == []
    assert http.post(f"/v1/webhooks/{job}/replay").status_code == 409
    assert http.get("/v1/webhooks", params={"job": "none"}).status_code == 404
    assert http.get("/v1/webhooks").status_code == 422


def test_the_end_of_a_batch_is_delivered_listed_and_replayed(http: httpx2.Client, node: Any, receiver: Receiver):
    asked = {"callback_url": receiver.url(HERE)}
    batch = http.post("/v1/batches", params=asked, json=[{"code": "1"}, {"code": "2"}]).json()["id"]
    node.look()
    assert receiver.ids == []
    http.post(f"/v1/batches/{batch}/cancel")
    node.look()
    http.post(f"/v1/webhooks/{batch}/replay")
    node.look()

    assert receiver.ids == [batch, batch]
    assert [one["status"] for one in http.get("/v1/webhooks", params={"job": batch}).json()] == [204, 204]


def test_a_receiver_is_tried_by_a_worker(http: httpx2.Client, node: Any, receiver: Receiver, eventually: Any):
    beat = Beat("webhooks", node.look, 0.05)
    beat.start()
    try:
        good = http.post("/v1/webhooks/test", json={"url": receiver.url(HERE)})
        receiver.statuses = [500]
        bad = http.post("/v1/webhooks/test", json={"url": receiver.url(HERE)})
    finally:
        beat.stop()

    assert (good.status_code, good.json()["status"], good.json()["error"]) == (200, 204, None)
    assert (bad.status_code, bad.json()["status"], bad.json()["error"]) == (200, 500, "answered 500")
    assert len(receiver.received) == 2
    eventually(lambda: _actions(http) == [("webhook.test", HERE)] * 2, within_s=20)


def _actions(http: httpx2.Client) -> list[tuple[str, str]]:
    return [(one["action"], one["target"]) for one in http.get("/v1/audit").json()]


def test_a_receiver_that_no_worker_may_reach_is_not_tried(http: httpx2.Client, node: Any):
    for url in ("http://hooks.example.com/", "https://10.0.0.1/", "nonsense", "http://[::1"):
        refused = http.post("/v1/webhooks/test", json={"url": url})

        assert (refused.status_code, refused.json()["detail"][:5]) == (422, "url: "), url


def test_where_no_worker_sends_webhooks_they_are_refused(http: httpx2.Client, redis: Any, played: Any):
    redis.hset(played.keys.settings(), mapping={"max_age_s": 60})
    url = "https://hooks.example.com/"

    job = http.post("/v1/jobs", json={"code": "1", "callback_url": url})
    batch = http.post("/v1/batches", params={"callback_url": url}, json=[{"code": "1"}])

    assert http.post("/v1/webhooks/test", json={"url": url}).status_code == 409
    for refused in (job, batch):
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_spec")
        assert refused.json()["detail"].startswith("callback_url: no worker sends webhooks")


def test_a_bad_callback_url_is_refused_at_submit_and_named(http: httpx2.Client, client: Client, node: Any):
    for url in ("ftp://h.test/", "http://h.test/", "https://127.0.0.2/", "https://u:p@h.test/"):
        _is_refused_everywhere(http, client, url)


def _is_refused_everywhere(http: httpx2.Client, client: Client, url: str) -> None:
    job = http.post("/v1/jobs", json={"code": "1", "callback_url": url})
    batch = http.post("/v1/batches", params={"callback_url": url}, json=[{"code": "1"}])
    item = http.post("/v1/batches", json=[{"code": "1", "callback_url": url}])

    assert (job.status_code, batch.status_code) == (422, 422)
    assert "callback_url" in job.json()["detail"]
    assert "callback_url" in batch.json()["detail"]
    assert [(error["code"], error["detail"][:14]) for error in item.json()["errors"]] == [
        ("invalid_spec", "callback_url: ")
    ]
    with pytest.raises(InvalidSpec, match="callback_url: "):
        client.submit("1", callback_url=url)


def test_deliveries_of_another_tenant_are_not_there(keyed: Keyed, redis: Any, played: Any, receiver: Receiver):
    node = Deliverer(redis, played.keys, Poster(bytes(32), {HERE}))
    redis.hset(played.keys.settings(), mapping={"webhook_allow": HERE})
    with keyed.client(keyed.key("red").key) as red, keyed.client(keyed.key("blue").key) as blue:
        asked = {"callback_url": receiver.url(HERE)}
        job = red.post("/v1/jobs", json={"code": "1", **asked}).json()["id"]
        batch = red.post("/v1/batches", params=asked, json=[{"code": "1"}]).json()["id"]
        red.post(f"/v1/jobs/{job}/cancel")
        red.post(f"/v1/batches/{batch}/cancel")
        node.look()

        for subject in (job, batch):
            assert len(red.get("/v1/webhooks", params={"job": subject}).json()) == 1
            assert blue.get("/v1/webhooks", params={"job": subject}).status_code == 404
            assert blue.post(f"/v1/webhooks/{subject}/replay").status_code == 404
        node.look()
    with keyed.client(keyed.key("red", "jobs:read").key) as reader:
        assert reader.post(f"/v1/webhooks/{job}/replay").status_code == 403
        assert reader.post("/v1/webhooks/test", json={"url": receiver.url(HERE)}).status_code == 403
    assert len(receiver.received) == 2
