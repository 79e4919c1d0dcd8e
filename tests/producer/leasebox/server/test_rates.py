"""Is a client told which bound it has reached and when to come again, and do all API processes count together?"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from starlette.datastructures import MutableHeaders
from tests.processes import is_healthy
from tests.producer.leasebox.served import served
from tests.producer.leasebox.server.conftest import PEPPER, Keyed

from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.server.rates import Rate, Rates


def limit(redis: Any, settings: ClientSettings, **bounds: float) -> None:
    redis.hset(Keys(settings.prefix).tenants(), "default", json.dumps(bounds))


@pytest.fixture
def mid_minute(redis: Any, eventually: Any) -> None:
    """No minute ends on Redis' clock while the test counts its submits."""
    eventually(lambda: redis.time()[0] % 60 < 55, within_s=30)


def told(answer: httpx2.Response) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(f"ratelimit-{name}") for name in ("limit", "remaining", "policy"))


@pytest.mark.usefixtures("mid_minute")
def test_a_submit_says_what_is_left_of_the_minute_and_a_refusal_when_the_next_begins(
    http: httpx2.Client, redis: Any, settings: ClientSettings
):
    limit(redis, settings, submits_per_minute=2)
    first, second, third = (http.post("/v1/jobs", json={"code": "1"}) for _ in range(3))

    assert [told(one)[:2] for one in (first, second, third)] == [("2", "1"), ("2", "0"), ("2", "0")]
    assert told(third)[2] == "2;w=60"
    problem = third.json()
    assert (third.status_code, problem["code"], problem["quota"], problem["bound"]) == (
        429, "quota_exceeded", "submits_per_minute", 2.0,
    )  # fmt: skip
    assert "submits_per_minute: at most 2" in problem["detail"]
    assert 1 <= int(third.headers["ratelimit-reset"]) == int(third.headers["retry-after"]) <= 60
    assert told(http.get("/v1/jobs")) == (None, None, None)  # no rate binds it


def test_a_job_of_a_session_says_what_is_left_too(http: httpx2.Client, redis: Any, settings: ClientSettings):
    limit(redis, settings, submits_per_minute=9)

    assert told(http.post("/v1/sessions/box/jobs", json={"code": "1"})) == ("9", "8", "9;w=60")


@pytest.mark.parametrize(
    ("quota", "path", "body"),
    [
        ("queued", "/v1/jobs", {"code": "1"}),
        ("cpu_s_per_day", "/v1/jobs", {"code": "1"}),
        ("bytes_per_day", "/v1/jobs", {"code": "1"}),
        ("sessions", "/v1/jobs", {"code": "1", "session": "box"}),
        ("sessions", "/v1/sessions", {"name": "box"}),
        ("queued", "/v1/sessions/box/jobs", {"code": "1"}),
    ],
)
def test_each_quota_is_named_with_its_bound_and_when_to_come_again(
    http: httpx2.Client, redis: Any, settings: ClientSettings, quota: str, path: str, body: dict[str, str]
):
    limit(redis, settings, **{quota: 0})
    answer = http.post(path, json=body)
    problem = answer.json()

    assert (answer.status_code, problem["code"], problem["quota"], problem["bound"]) == (
        429, "quota_exceeded", quota, 0.0,
    )  # fmt: skip
    assert int(answer.headers["retry-after"]) >= 1
    assert told(answer) == (None, None, None)  # a bound, but no rate


def test_a_full_queue_says_how_many_are_before(http: httpx2.Client, redis: Any, settings: ClientSettings):
    redis.hset(Keys(settings.prefix).settings(), "queue_max_jobs", 2)
    *_, third = (http.post("/v1/jobs", json={"code": "1"}) for _ in range(3))

    assert (third.status_code, third.json()["code"], third.json()["position"]) == (429, "queue_full", 2)
    assert third.headers["retry-after"] == "1"


@pytest.mark.usefixtures("mid_minute")
def test_of_a_batch_each_job_beyond_the_quota_says_so(http: httpx2.Client, redis: Any, settings: ClientSettings):
    limit(redis, settings, submits_per_minute=2)
    answer = http.post("/v1/batches", json=[{"code": "1"}] * 3)
    errors = [job["error"] for job in answer.json()["jobs"]]

    assert (answer.status_code, errors[:2]) == (202, [None, None])
    assert (errors[2]["code"], errors[2]["quota"], errors[2]["bound"]) == ("quota_exceeded", "submits_per_minute", 2.0)
    assert errors[2]["retry_after_s"] > 0
    assert told(answer) == ("2", "0", "2;w=60")


def test_a_tenant_at_its_quota_is_no_other_tenants_trouble(keyed: Keyed, redis: Any):
    redis.hset(Keys(keyed.settings.prefix).tenants(), "red", '{"queued": 1}')
    with keyed.client(keyed.key("red").key) as red, keyed.client(keyed.key("blue").key) as blue:
        found = [one.post("/v1/jobs", json={"code": "1"}).status_code for one in (red, red, blue, blue)]

    assert found == [202, 429, 202, 202]


@contextmanager
def process(settings: ClientSettings, **more: str) -> Iterator[str]:
    """An API in a process of its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    given = {"URL": settings.url, "PREFIX": settings.prefix, "HOME": str(settings.home), "API_PORT": str(port), **more}
    env = {f"LEASEBOX_{name}": str(value) for name, value in given.items()}
    running = subprocess.Popen([sys.executable, "-m", "leasebox.server"], env=env, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


@pytest.mark.slow
def test_two_api_processes_share_one_count_of_requests_and_of_submits(
    settings: ClientSettings, keyed: Keyed, redis: Any, eventually: Any
):
    limit(redis, settings, submits_per_minute=3)
    key = {"Authorization": f"Bearer {keyed.key('red').key}"}
    bounds = {"API_REQUESTS_PER_MINUTE": "6", "KEY_PEPPER": PEPPER}
    with process(settings, **bounds) as one, process(settings, **bounds) as other, httpx2.Client(timeout=30) as http:
        for url in (one, other):
            eventually(lambda url=url: is_healthy(url), within_s=60)

        eventually(lambda: redis.time()[0] % 60 < 55, within_s=30)
        submits = [http.post(f"{url}/v1/jobs", json={"code": "1"}, headers=key) for url in (one, other, one, other)]
        reads = [http.get(f"{url}/v1/jobs", headers=key) for url in (one, other, one)]

    assert [answer.status_code for answer in submits] == [202, 202, 202, 429]
    assert [told(answer)[:2] for answer in submits] == [("3", "2"), ("3", "1"), ("3", "0"), ("3", "0")]
    assert [answer.status_code for answer in reads] == [200, 200, 429]
    assert [told(answer)[:2] for answer in reads] == [("6", "1"), ("6", "0"), ("6", "0")]
    assert reads[2].json()["quota"] == "requests_per_minute"


def test_each_key_has_a_rate_of_its_own_and_a_bad_one_uses_up_nobodys(settings: ClientSettings, keyed: Keyed):
    bounded = {"key_pepper": PEPPER, "api_requests_per_minute": 2}
    keys = [keyed.key("red").key for _ in range(2)]
    with served(settings, **bounded) as url, httpx2.Client(base_url=url, timeout=30) as http:
        found = {
            key: [http.get("/v1/jobs", headers={"X-API-Key": key}).status_code for _ in range(3)]
            for key in (keys[0][:-8] + "aaaaaaaa", *keys)
        }
        health = [http.get("/healthz").status_code for _ in range(3)]

    assert list(found.values()) == [[401, 401, 401], [200, 200, 429], [200, 200, 429]]
    assert health == [200, 200, 200]


def test_a_count_that_redis_cannot_keep_is_a_503(settings: ClientSettings):
    lost = settings.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    with served(lost, api_requests_per_minute=2) as url:
        answer = httpx2.get(f"{url}/v1/jobs", timeout=60)

    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        ([], {}),
        ([Rate(9, 3, 0.2)], {"limit": "9", "remaining": "3", "reset": "1", "policy": "9;w=60"}),
        ([Rate(9, 3, 1.1), Rate(5, 4, 9.0)], {"limit": "9", "remaining": "3", "reset": "2", "policy": "9;w=60"}),
        ([Rate(9, 3, 1.0), Rate(5, 2, 9.0)], {"limit": "5", "remaining": "2", "reset": "9", "policy": "5;w=60"}),
    ],
)
def test_of_several_rates_the_one_is_told_that_leaves_the_least(met: list[Rate], expected: dict[str, str]):
    rates, headers = Rates(), MutableHeaders()
    for rate in met:
        rates.note(rate)
    rates.tell(headers)

    assert dict(headers) == {f"ratelimit-{name}": text for name, text in expected.items()}
