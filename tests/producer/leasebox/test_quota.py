"""Is a bound that is reached the same error over Redis and over HTTP, with the bound and when to come again?"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from leasebox import AsyncClient, Client, _quota, errors
from leasebox._pauses import limited_pause_s
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import client_answers


@pytest.fixture
def either(either_settings: ClientSettings) -> Iterator[Client]:
    with Client(settings=either_settings) as made:
        yield made


def limit(redis: Any, prefix: str, **bounds: float) -> None:
    redis.hset(Keys(prefix).tenants(), "default", json.dumps(bounds))


@pytest.mark.parametrize(
    ("quota", "bound"), [("queued", 0), ("submits_per_minute", 0), ("cpu_s_per_day", 0), ("bytes_per_day", 0)]
)
def test_a_submit_beyond_a_quota_names_it_its_bound_and_when_to_come_again(
    either: Client, redis: Any, prefix: str, quota: str, bound: float
):
    limit(redis, prefix, **{quota: bound})

    with pytest.raises(errors.QuotaExceeded, match=rf"tenant default is at its quota \({quota}: at most 0\)") as found:
        either.submit("1")
    assert (found.value.quota, found.value.bound) == (quota, bound)
    assert found.value.retry_after_s is not None
    assert 0 < found.value.retry_after_s <= 86400


async def test_a_session_too_many_is_refused_and_so_is_the_async_clients(
    either_settings: ClientSettings, redis: Any, prefix: str
):
    limit(redis, prefix, sessions=1)
    async with AsyncClient(settings=either_settings) as client:
        await client.session("a")

        for refused in (client.session("b"), client.submit("1", session="c")):
            with pytest.raises(errors.QuotaExceeded, match=r"\(sessions: at most 1\)") as found:
                await refused
            assert (found.value.quota, found.value.bound) == ("sessions", 1.0)
        assert (await client.submit("1", session="a")).id


def test_a_full_queue_says_how_many_are_before(either: Client, redis: Any, prefix: str):
    redis.hset(Keys(prefix).settings(), "queue_max_jobs", 2)
    either.submit("1"), either.submit("1")

    with pytest.raises(errors.QueueFull, match="queue default is full: 2 jobs wait, at most 2 may") as found:
        either.submit("1")
    assert (found.value.position, found.value.retry_after_s) == (2, 1.0)


def test_of_many_specs_those_beyond_the_quota_are_refused_by_themselves(either: Client, redis: Any, prefix: str):
    limit(redis, prefix, queued=2)

    with pytest.raises(errors.PartlyRefused) as found:
        either.submit_many([{"code": "1"}] * 3)
    assert [error.code for error in found.value.errors] == ["quota_exceeded"]
    assert "queued: at most 2" in found.value.errors[0].detail


def test_a_job_of_a_full_tenant_is_told_its_place_and_why_it_waits(either: Client, redis: Any, prefix: str):
    limit(redis, prefix, running=0)
    jobs = [either.submit("1") for _ in range(3)]

    assert [job.status().position for job in jobs] == [0, 1, 2]
    assert "Tenant default runs as many jobs as it may" in jobs[0].why().why[0]


def test_bounds_are_told_to_the_last_digit():
    error = _quota.quota_exceeded(client_answers.Quota("bytes_per_day", 5.0, 123456789012345.0), "acme")

    assert "bytes_per_day: at most 123456789012345)" in error.detail
    assert "0.25)" in _quota.quota_exceeded(client_answers.Quota("cpu_s_per_day", 5.0, 0.25), "acme").detail


@pytest.mark.parametrize(
    "error",
    [
        _quota.at_bound("tenant acme", "queued", 3.0, 1.5),
        _quota.queue_full(client_answers.Full(1.0, 7, 7), "batch"),
        errors.BrokerUnavailable("d", hint="h", retry_after_s=2.0),
        errors.InvalidSpec("d"),
    ],
)
def test_an_error_is_the_same_after_its_way_through_a_document(error: errors.LeaseboxError):
    document = {"code": error.code, "detail": error.detail, "hint": error.hint, **_quota.members(error)}
    again = _quota.restored(json.loads(json.dumps(document)))

    assert (type(again), vars(again)) == (type(error), vars(error))


@pytest.mark.parametrize(
    ("method", "asked_s", "draw", "expected"),
    [
        ("GET", 2.0, 0.0, 2.0),
        ("GET", 2.0, 0.99, 2.99),
        ("GET", 10.0, 0.0, 10.0),
        ("GET", 10.1, 0.0, None),
        ("GET", None, 0.5, None),
        ("POST", 1.0, 0.0, None),
        ("DELETE", 1.0, 0.0, None),
    ],
)
def test_only_reads_wait_for_a_rate_a_while_and_never_less_than_asked_for(
    method: str, asked_s: float | None, draw: float, expected: float | None
):
    assert limited_pause_s(method, asked_s, draw) == (None if expected is None else pytest.approx(expected))


class _Busy(BaseHTTPRequestHandler):
    """Refuses the first request of each method for its rate."""

    def _answer(self) -> None:
        seen: list[str] = self.server.seen  # type: ignore[attr-defined]
        seen.append(self.command)
        is_refused = seen.count(self.command) == 1
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = {"code": "quota_exceeded", "detail": "d", "quota": "requests_per_minute", "bound": 1, "retry_after_s": 1}
        is_stream = "/events" in self.path
        sent = json.dumps(body).encode() if is_refused else b"" if is_stream else b"[]"
        self.send_response(429 if is_refused else 204 if is_stream else 200)
        if sent:
            self.send_header("Content-Length", str(len(sent)))
        if is_refused:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def busy(settings: ClientSettings) -> Iterator[tuple[ClientSettings, list[str]]]:
    """Settings of a client of such an API, and the methods that it was asked."""
    server = HTTPServer(("127.0.0.1", 0), _Busy)
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield ClientSettings(url=url, home=settings.home, _env_file=None), server.seen  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_read_that_is_refused_for_its_rate_is_asked_again_and_a_submit_is_not(
    busy: tuple[ClientSettings, list[str]],
):
    settings, seen = busy
    with Client(settings=settings) as client:
        assert client.queues() == []
        with pytest.raises(errors.QuotaExceeded) as found:
            client.submit("1")

    assert (seen.count("GET"), seen.count("POST")) == (2, 1)
    assert (found.value.quota, found.value.bound, found.value.retry_after_s) == ("requests_per_minute", 1.0, 1.0)


@pytest.mark.slow
async def test_a_stream_that_is_refused_for_its_rate_is_opened_again(busy: tuple[ClientSettings, list[str]]):
    settings, seen = busy
    async with AsyncClient(settings=settings) as client:
        found = [event async for event in client.job("j").events()]

    assert (found, seen) == ([], ["GET", "GET"])
