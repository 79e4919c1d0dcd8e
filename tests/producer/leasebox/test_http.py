"""Does a client of the API bear with a network that breaks, and say clearly what it cannot bear with?"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis
from tests.producer.leasebox.served import served
from tests.relay import Relay

from leasebox import AsyncClient, Client, _files, errors
from leasebox._connect import backend_of
from leasebox._event_json import event_json, event_of
from leasebox._flows import JobFilter
from leasebox._http import _value, error_of
from leasebox._http_backend import EventStream, HttpBackend, Request
from leasebox._http_batches import ManyHttpBackend
from leasebox._input import InputChunk
from leasebox._json_line import json_line
from leasebox._pauses import pause_s
from leasebox._sessions import SessionPlan
from leasebox.config import ClientSettings
from leasebox.contract import events
from leasebox.contract.keys import Keys
from leasebox.contract.result import Artifact, Outcome, Result


@pytest.fixture
def relay(settings: ClientSettings, tmp_path: Path) -> Iterator[Relay]:
    """A network that fails as told, before an API."""
    place = tmp_path / "api"
    with served(settings, at=place):
        made = Relay(place)
        yield made
        made.close()


@pytest.fixture
def far(relay: Relay, settings: ClientSettings) -> Iterator[Client]:
    """A client on the far side of it."""
    url = relay.url.replace("redis://", "http://").removesuffix("/0")
    with Client(settings=ClientSettings(url=url, home=settings.home, _env_file=None)) as made:
        yield made


def test_a_submit_whose_answer_is_lost_is_repeated_and_made_once(relay: Relay, far: Client, client: Client):
    relay.cut_rate = 0.2
    handles = [far.submit("1") for _ in range(20)]
    relay.cut_rate = 0.0

    assert relay.cuts > 3
    assert [handle.existing for handle in handles] == [False] * 20
    assert sorted(job.id for job in client.jobs()) == sorted(handle.id for handle in handles)


def test_an_operation_on_files_whose_answer_is_lost_is_queued_once(
    relay: Relay, far: Client, redis: Redis, settings: ClientSettings
):
    operation = _files.move("a", "b").operation
    relay.cut_rate = 0.2
    made = [far._run(far._backend.operate(operation, SessionPlan("s"), {})).job for _ in range(20)]
    relay.cut_rate = 0.0

    assert relay.cuts > 3
    assert {job.decode() for job in redis.smembers(Keys(settings.prefix).tenant_queued("default"))} == set(made)


def test_a_stream_that_is_cut_again_and_again_loses_and_doubles_nothing(relay: Relay, far: Client, played: Any):
    handle = far.submit("1")
    lines = [b"%d \xc3" % n if n % 2 == 0 else b"\xbc\n" for n in range(400)]

    def work() -> None:
        work = played.begin(handle.id)
        for line in lines:
            played.write(work, ("stdout", line))
        played.end(work)

    relay.cut_rate = 0.05
    worker = threading.Thread(target=work)
    worker.start()
    found = list(handle.events(timeout_s=60))
    worker.join()

    assert relay.cuts > 0
    assert [event.type for event in found].count("finished") == 1
    assert b"".join(event.data for event in found if isinstance(event, events.Stdout)) == b"".join(lines)
    assert "".join(event.text for event in found if isinstance(event, events.Stdout)) == b"".join(lines).decode()


def test_what_some_take_for_the_end_of_a_line_is_told_as_it_is(either_settings: ClientSettings, played: Any):
    text = "a\x85b\u2028c\u2029data: d\u2028\u2028e\r\n"
    with Client(settings=either_settings) as client:
        batch = client.batch([{"code": "1", "key": text[:8]}])
        (job,) = client.jobs()
        work = played.begin(job.id)
        played.write(work, ("stdout", text.encode()))
        played.end(work, stdout=text)

        *_, told, end = client.job(job.id).events(timeout_s=20)
        (done,) = batch.results(timeout_s=20)

    assert isinstance(told, events.Stdout)
    assert isinstance(end, events.Finished)
    assert [told.text, end.result.stdout, done.stdout] == [text] * 3


@given(st.text())
@example("\x85\u2028\u2029")
def test_a_line_of_json_is_one_line_for_everybody(told: str):
    line = json_line({"text": told})

    assert line.splitlines() == [line]
    assert json.loads(line) == {"text": told}


async def test_so_it_is_for_an_event_loop(either_settings: ClientSettings, played: Any):
    async with AsyncClient(settings=either_settings) as client:
        handle = await client.submit("1")
        played.end(played.begin(handle.id), stdout="a\u2028b")
        found = [event async for event in handle.events(timeout_s=20)]

    assert isinstance(found[-1], events.Finished)
    assert found[-1].result.stdout == "a\u2028b"


def test_waiting_for_a_result_bears_with_cuts(relay: Relay, far: Client, played: Any):
    handle = far.submit("1")
    waiting: list[Result] = []
    waiter = threading.Thread(target=lambda: waiting.append(handle.result(timeout_s=60)))
    waiter.start()
    relay.cut_rate = 0.5
    played.end(played.begin(handle.id), stdout="x")
    waiter.join(60)

    assert waiting[0].stdout == "x"


def test_an_api_that_is_not_there_is_one_clear_sentence(settings: ClientSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("leasebox._http.TRIES", 2)
    lost = Client(settings=ClientSettings(url="http://127.0.0.1:1", home=settings.home, _env_file=None))

    with lost, pytest.raises(errors.BrokerUnavailable, match=r"cannot reach the API at http://127\.0\.0\.1:1"):
        lost.queues()


def value(path: Any, response: httpx2.Response) -> Any:
    """What the client makes of the answer to the first request of a flow."""
    return _value("http://h", next(path), response)


def test_a_page_in_place_of_an_answer_is_no_answer():
    backend = HttpBackend(ClientSettings(url="http://h", _env_file=None))
    page, chunk = httpx2.Response(200, text="<html>Log in</html>"), InputChunk("w", 1, b"x", False)

    for asked in (backend.feed("j", chunk), backend.status("j"), backend.jobs(JobFilter(), 1)):
        with pytest.raises(errors.BrokerUnavailable, match="something answered with status 200"):
            value(asked, page)
    assert value(backend.feed("j", chunk), httpx2.Response(204)) is None


def test_null_is_an_answer_to_who_understands_it():
    asked = Request("GET", "/", lambda data: ("understood", data))

    assert _value("http://h", asked, httpx2.Response(200, text="null")) == ("understood", None)
    with pytest.raises(errors.BrokerUnavailable, match="something answered with status 502"):
        _value("http://h", asked, httpx2.Response(502, text="null"))


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"status": "ok"}', '"x"', "1"])
def test_an_answer_that_nobody_understands_is_none_of_the_api(body: str):
    backend = ManyHttpBackend(ClientSettings(url="http://h", _env_file=None))
    answer = httpx2.Response(200, text=body)

    for asked in (backend.status("j"), backend.result("j"), backend.touch("s"), backend.session("s")):
        with pytest.raises(errors.BrokerUnavailable, match=r"not of this API \(\w+Error: \S"):
            value(asked, answer)


@pytest.mark.parametrize("body", ["", "null", "true", '"x"'])
def test_a_change_is_made_only_if_the_api_tells_of_it(body: str):
    backend = ManyHttpBackend(ClientSettings(url="http://h", _env_file=None))

    for asked in (backend.open_batch("b", None), backend.seal_batch("b"), backend.cancel_batch("b")):
        with pytest.raises(errors.BrokerUnavailable, match="not of this API"):
            value(asked, httpx2.Response(200, text=body))


def test_a_content_that_is_not_whole_is_none():
    backend = HttpBackend(ClientSettings(url="http://h", _env_file=None))
    artifact = Artifact(path="f", size_bytes=3, sha256="0" * 64, content_type="text/plain")

    assert value(backend.content("j", artifact), httpx2.Response(200, content=b"abc")) == b"abc"
    with pytest.raises(errors.BrokerUnavailable, match="f: 2 of 3 bytes came"):
        value(backend.content("j", artifact), httpx2.Response(200, content=b"ab"))


@pytest.mark.parametrize(
    "url", ["http://", "https://user:pass@h", "http://h?x=1", "http://h#x", "http://[::1", "http://h:x"]
)
def test_a_url_that_cannot_be_an_apis_is_refused(url: str):
    with pytest.raises(errors.ConfigError, match="LEASEBOX_URL"):
        Client(url)


def test_a_tenant_cannot_be_asked_of_an_api():
    with pytest.raises(errors.ConfigError, match="the key names the tenant"):
        backend_of(ClientSettings(url="http://h", tenant="red", _env_file=None))


@pytest.mark.parametrize(
    ("tried", "asked_s", "draw", "expected"),
    [
        (1, None, 0.0, 0.0),
        (1, None, 0.5, 0.05),
        (3, None, 0.5, 0.2),
        (30, None, 0.5, 1.0),
        (1, 1.0, 0.5, 1.0),
        (1, 3600.0, 0.5, 2.0),
    ],
)
def test_pauses_double_with_jitter_and_heed_the_server(tried: int, asked_s: float | None, draw: float, expected: float):
    assert pause_s(tried, asked_s, draw) == pytest.approx(expected)


def test_a_refusal_becomes_the_error_of_its_code():
    full = error_of(429, {"code": "queue_full", "detail": "d", "hint": "h", "retry_after_s": 2.5}, "http://h")
    odd = error_of(502, "<html>", "http://h")

    assert isinstance(full, errors.QueueFull)
    assert (full.detail, full.hint, full.retry_after_s) == ("d", "h", 2.5)
    assert isinstance(odd, errors.BrokerUnavailable)


RESULT = Result(job="j", outcome=Outcome.OK, stdout="x")


@pytest.mark.parametrize(
    "event",
    [
        events.Queued("0-1", 1.0, "q", 3),
        events.Queued("0-1", 1.0, "q", None),
        events.Started("1-0", 1.0, "n", "s", 1),
        events.SessionRestarted("1-1", 1.0, "lost"),
        events.Retried("1-2", 1.0, 2, "node_lost"),
        events.Stdout("1-16", 1.0, b"a", "a"),
        events.Stdout("1-16", 1.0, b"\xc3", ""),
        events.Stderr("1-16", 1.0, b"\xbc!", "ü!"),
        events.Stdout("1-16", 1.0, b"A", "\ufffdA"),
        events.Stdout("1-16", 1.0, b"", "\ufffd"),
        events.Display("1-17", 1.0, {"text/plain": "1"}),
        events.Input("1-18", 1.0, "> "),
        events.Finished("1-19", 1.0, RESULT),
    ],
    ids=lambda event: event.type,
)
def test_an_event_comes_back_from_json_as_it_was(event: events.Event):
    assert event_of(event_json(event)) == event


def test_a_kind_of_event_that_only_a_newer_api_knows_is_passed_by():
    assert event_of({"id": "1-1", "at": 1.0, "type": "hologram"}) is None


def test_a_stream_is_read_by_the_rules_of_event_streams():
    stream = EventStream("j", None)
    lines = [
        "retry: 1000", "", ": still here", "", "id: 1-1", "event: input", 'data: {"at": 1.0, "type": "input",',
        'data: "prompt": "> "}', "", "id: 1-2", 'data: {"at": 1.0, "type": "new"}', "",
    ]  # fmt: skip
    found = [event for line in lines if (event := stream.feed(line)) is not None]

    assert found == [events.Input("1-1", 1.0, "> ")]
    assert stream.cursor == "1-2"
    assert stream.begin().headers["Last-Event-ID"] == "1-2"
