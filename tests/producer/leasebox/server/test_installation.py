"""Does the API say what it stands on, and does it stay when Redis goes?"""

import subprocess
import sys
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.served import served

from leasebox import __version__
from leasebox.config import ApiSettings, ClientSettings
from leasebox.server.__main__ import check


def test_health_readiness_and_version(http: httpx2.Client, played: Any):
    ready = http.get("/readyz").json()

    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/version").json()["version"] == __version__
    assert (ready["status"], [entry["status"] for entry in ready["checks"]]) == ("ready", ["ok"] * 6)


def test_lists_of_the_installation_are_those_of_the_command_line(http: httpx2.Client, played: Any, redis: Any):
    redis.hset(f"{played.keys.prefix}:profiles", "default", '{"languages": ["python"]}')

    assert http.get("/v1/profiles").json() == [{"name": "default", "languages": ["python"]}]
    assert http.get("/v1/nodes").json()[0]["name"] == played.name
    assert [queue["queued"] for queue in http.get("/v1/queues").json()] == [0, 0, 0]


def test_without_redis_every_request_is_503_and_the_process_says_that_it_lives(tmp_path: Any):
    settings = ClientSettings(url="redis://127.0.0.1:1/0", home=tmp_path, _env_file=None)
    with served(settings) as url, httpx2.Client(base_url=url, timeout=30) as http:
        answers = [http.post("/v1/jobs", json={"code": "1"}), http.get("/v1/jobs/j"), http.get("/v1/jobs/j/events")]
        ready, health = http.get("/readyz"), http.get("/healthz")

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "broker_unavailable")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert all("127.0.0.1" not in answer.text for answer in answers)  # where Redis is, is nobody's business
    assert (ready.status_code, ready.json()["status"]) == (503, "unready")
    assert health.status_code == 200


def test_requests_are_counted_by_their_route(http: httpx2.Client):
    for job in ("one", "two"):
        http.get(f"/v1/jobs/{job}")
    text = http.get("/metrics").text

    assert 'leasebox_http_requests_total{method="GET",route="/v1/jobs/{job}",status="404"} 2.0' in text
    assert "one" not in text
    assert "leasebox_http_requests_open 1.0" in text  # this one
    assert "leasebox_api_info{" in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


def test_the_page_of_routes_needs_nothing_from_elsewhere(http: httpx2.Client):
    answer = http.get("/docs")

    assert "/v1/jobs/{job}/events" in answer.text
    assert "//" not in answer.text.replace("<!doctype", "")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_api_imports_neither_the_engine_nor_the_worker(http: httpx2.Client):
    code = (
        "import sys, leasebox.server.__main__; from leasebox.config import ApiSettings;"
        "leasebox.server.create_app(ApiSettings(url='redis://h/0', _env_file=None)).openapi();"
        "print([m for m in sys.modules if m.partition('.')[0] in ('docker', 'leasebox_worker', 'leasebox_guest')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("host", "pepper", "has_key", "words"),
    [
        ("127.0.0.1", None, False, "WARNING: no keys"),
        ("::1", None, False, "WARNING: no keys"),
        ("127.0.0.1", "a pepper of 16 bytes", False, "every request needs a key"),
        ("0.0.0.0", "a pepper of 16 bytes", True, "every request needs a key"),
    ],
)
def test_where_it_may_listen(
    settings: ClientSettings, redis: Any, host: str, pepper: str | None, has_key: bool, words: str
):
    if has_key:
        redis.sadd(f"{settings.prefix}:keys", "k")
        redis.hset(f"{settings.prefix}:key:k", mapping={"digest": "d", "tenant": "t", "scopes": "[]"})
    given = ApiSettings(
        url=settings.url,
        prefix=settings.prefix,
        api_host=host,
        key_pepper=pepper,
        _env_file=None,  # type: ignore[arg-type]
    )

    assert words in check(given)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"LEASEBOX_API_HOST": "0.0.0.0"}, "LEASEBOX_KEY_PEPPER"),
        ({"LEASEBOX_API_HOST": "0.0.0.0", "LEASEBOX_KEY_PEPPER": "short"}, "at least 16 bytes"),
        ({"LEASEBOX_API_HOST": "0.0.0.0", "LEASEBOX_KEY_PEPPER": "a pepper of 16 bytes"}, "leasebox keys create"),
        ({"LEASEBOX_URL": ""}, "LEASEBOX_URL"),
        ({"LEASEBOX_API_PORT": "0"}, "LEASEBOX_API_PORT"),
    ],
)
def test_it_refuses_to_start_where_anybody_or_nobody_could_use_it(
    settings: ClientSettings, more: dict[str, str], words: str
):
    environment = {"PATH": "/usr/bin", "LEASEBOX_URL": str(settings.url), "LEASEBOX_PREFIX": settings.prefix, **more}
    command = [sys.executable, "-m", "leasebox.server"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1), done.stderr
    assert words in done.stderr
