"""Can a job be followed over HTTP, cut, and followed on, without an event lost or doubled?"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.served import served

from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.server import events


def frames(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Server-Sent Events, read with nothing of ours."""
    frame: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line:
            if "data" in frame:
                yield frame
            frame = {}
        elif not line.startswith(":"):
            frame[name] = json.loads(value) if name == "data" else value


def told(http: httpx2.Client, job: str, **given: Any) -> list[dict[str, Any]]:
    with http.stream("GET", f"/v1/jobs/{job}/events", **given) as answer:
        assert answer.status_code == 200, answer.read()
        return list(frames(answer.iter_lines()))


@pytest.fixture
def job(http: httpx2.Client, played: Any) -> str:
    """A finished job whose output splits characters."""
    made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    work = played.begin(made)
    played.write(work, *(("stdout", bytes([byte])) for byte in "aß€".encode()), ("stderr", b"\xff"))
    played.end(work, stdout="aß€")
    return str(made)


def test_events_are_told_with_ids_and_types_up_to_finished(http: httpx2.Client, job: str):
    found = told(http, job)

    assert [frame["event"] for frame in found] == ["queued", "started", *["stdout"] * 6, "stderr", "finished"]
    assert len({frame["id"] for frame in found}) == len(found)
    assert all("id" not in frame["data"] for frame in found)
    assert found[2]["data"]["text"] == "a"
    assert found[3]["data"]["base64"] == "ww=="
    assert found[-1]["data"]["result"]["stdout"] == "aß€"


@pytest.mark.parametrize("how", ["header", "query"])
def test_after_any_event_the_rest_follows(http: httpx2.Client, job: str, how: str):
    whole = told(http, job)

    for place, frame in enumerate(whole[:-1]):
        where = {"headers": {"Last-Event-ID": frame["id"]}} if how == "header" else {"params": {"after": frame["id"]}}
        assert told(http, job, **where) == whole[place + 1 :]


def test_whoever_saw_the_end_is_told_not_to_ask_again(http: httpx2.Client, job: str):
    last = told(http, job)[-1]["id"]

    answer = http.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last})

    assert (answer.status_code, answer.content) == (204, b"")


def test_lines_of_json_hold_the_same_events(http: httpx2.Client, job: str):
    answer = http.get(f"/v1/jobs/{job}/events", headers={"Accept": "application/x-ndjson"})

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [line["id"] for line in lines] == [frame["id"] for frame in told(http, job)]


@pytest.mark.parametrize(("after", "status"), [("9-9", 410), ("x", 422)])
def test_a_cursor_that_is_not_known_is_refused_before_the_stream_begins(
    http: httpx2.Client, job: str, after: str, status: int
):
    assert http.get(f"/v1/jobs/{job}/events", params={"after": after}).status_code == status


def test_events_that_are_gone_are_410_and_the_result_is_still_there(
    http: httpx2.Client, job: str, redis: Any, prefix: str
):
    redis.delete(Keys(prefix).events(job))

    assert http.get(f"/v1/jobs/{job}/events").json()["code"] == "stream_expired"
    assert http.get(f"/v1/jobs/{job}").json()["result"]["stdout"] == "aß€"


def test_what_happens_later_arrives_at_once_and_not_by_the_sweep(
    http: httpx2.Client, played: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("leasebox.server.watch.SWEEP_S", 3600)
    made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    with http.stream("GET", f"/v1/jobs/{made}/events") as answer:
        found = frames(answer.iter_lines())
        assert next(found)["event"] == "queued"
        work = played.begin(made)
        assert next(found)["event"] == "started"
        for n in range(20):
            played.write(work, ("stdout", b"%d\n" % n))
            assert next(found)["data"]["text"] == f"{n}\n"
        played.end(work)
        assert next(found)["event"] == "finished"


def test_a_silent_stream_says_that_it_lives(settings: ClientSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    with served(settings) as url, httpx2.Client(base_url=url) as http:
        made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
        with http.stream("GET", f"/v1/jobs/{made}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == f"retry: {events.RETRY_MS}"
            assert next(line for line in lines if line.startswith(":"))


def watchers(http: httpx2.Client) -> int:
    text = http.get("/metrics").text
    return int(float(next(line.split()[1] for line in text.splitlines() if line.startswith("leasebox_http_watchers "))))


def test_clients_that_vanish_are_forgotten(http: httpx2.Client, eventually: Any):
    made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    with httpx2.Client(base_url=http.base_url) as leaving:
        opened = [leaving.send(leaving.build_request("GET", f"/v1/jobs/{made}/events"), stream=True) for _ in range(5)]
        eventually(lambda: watchers(http) == 5)
        for answer in opened:
            answer.close()

    eventually(lambda: watchers(http) == 0)


def test_a_client_that_does_not_read_holds_up_nobody(http: httpx2.Client, played: Any):
    made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    work = played.begin(made)
    with http.stream("GET", f"/v1/jobs/{made}/events"):  # opened, and never read
        for _ in range(64):
            played.write(work, *(("stdout", b"x" * 30_000) for _ in range(8)))
        played.end(work)
        with httpx2.Client(base_url=http.base_url, timeout=30) as other:
            found = told(other, made)

    assert sum(len(frame["data"]["text"]) for frame in found if frame["event"] == "stdout") == 64 * 8 * 30_000


class TestWebSocket:
    """The same events over a WebSocket, and commands to the job."""

    def test_events_are_told_up_to_finished(self, http: httpx2.Client, job: str):
        with http.websocket(f"/v1/jobs/{job}/ws") as socket:
            found = [json.loads(socket.receive_text()) for _ in range(10)]

        assert [event["id"] for event in found] == [frame["id"] for frame in told(http, job)]
        assert found[-1]["type"] == "finished"

    def test_after_an_event_the_rest_follows(self, http: httpx2.Client, job: str):
        whole = told(http, job)
        with http.websocket(f"/v1/jobs/{job}/ws", params={"after": whole[4]["id"]}) as socket:
            assert json.loads(socket.receive_text())["id"] == whole[5]["id"]

    def test_cancel_ends_the_job(self, http: httpx2.Client):
        made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
        with http.websocket(f"/v1/jobs/{made}/ws") as socket:
            assert json.loads(socket.receive_text())["type"] == "queued"
            socket.send_text('{"type": "cancel"}')
            assert json.loads(socket.receive_text())["result"]["outcome"] == "cancelled"

    def test_what_is_typed_becomes_input_in_its_order(
        self, http: httpx2.Client, redis: Any, settings: Any, eventually: Any
    ):
        made = http.post("/v1/jobs", json={"code": "1", "stdin_open": True}).json()["id"]
        stream = f"{settings.prefix}:job:{made}:stdin"
        with http.websocket(f"/v1/jobs/{made}/ws") as socket:
            for text in ("one", "zwei é"):
                socket.send_text(json.dumps({"type": "stdin", "text": text}))
            socket.send_text('{"type": "eof"}')
            eventually(lambda: redis.xlen(stream) == 3)

        found = [(fields[b"data"].decode(), fields[b"eof"]) for _, fields in redis.xrange(stream)]
        assert found == [("one", b""), ("zwei é", b""), ("", b"1")]

    def test_a_cancel_does_not_wait_behind_input_that_nobody_reads(self, http: httpx2.Client):
        made = http.post("/v1/jobs", json={"code": "1", "stdin_open": True}).json()["id"]
        with http.websocket(f"/v1/jobs/{made}/ws") as socket:
            socket.receive_text()
            for _ in range(40):
                socket.send_text(json.dumps({"type": "stdin", "text": "x" * 60_000}))
            refused = json.loads(socket.receive_text())
            socket.send_text('{"type": "cancel"}')
            last = [json.loads(socket.receive_text())["type"]]
            while last[-1] != "finished":
                last.append(json.loads(socket.receive_text())["type"])

            assert refused["problem"]["code"] == "queue_full"
            assert set(last) == {"error", "finished"}

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ('{"type": "stdin", "text": "x"}', "wrong_state"),
            ('{"type": "eof"}', "wrong_state"),
            ('{"type": "stdin", "text": "\\ud800"}', "invalid_spec"),
            ('{"type": "stdin", "text": null}', "invalid_spec"),
            ('{"type": "stdin", "text": 5}', "invalid_spec"),
            ('{"type": "stdin", "base64": "eA=="}', "invalid_spec"),
            ('{"type": "cancel", "text": "x"}', "invalid_spec"),
            ('{"type": "eof", "type": "cancel"}', "invalid_spec"),
            ('{"type": "other"}', "invalid_spec"),
            ("{", "invalid_spec"),
            ("[]", "invalid_spec"),
            ("[" * 60_000, "invalid_spec"),
        ],
    )
    def test_what_cannot_be_done_is_told_and_the_events_go_on(self, http: httpx2.Client, said: str, code: str):
        made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
        with http.websocket(f"/v1/jobs/{made}/ws") as socket:
            socket.receive_text()
            socket.send_text(said)
            answer = json.loads(socket.receive_text())
            socket.send_text('{"type": "cancel"}')

            assert (answer["type"], answer["problem"]["code"]) == ("error", code)
            assert json.loads(socket.receive_text())["type"] == "finished"

    def test_an_unknown_job_is_404_before_the_socket_opens(self, http: httpx2.Client):
        with pytest.raises(Exception, match="404"), http.websocket("/v1/jobs/none/ws"):
            pass

    def test_a_client_that_vanishes_is_forgotten(self, http: httpx2.Client, eventually: Any):
        made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
        with http.websocket(f"/v1/jobs/{made}/ws") as socket:
            socket.receive_text()
            assert watchers(http) == 1

        eventually(lambda: watchers(http) == 0)


def test_many_follow_one_job_while_it_writes(http: httpx2.Client, played: Any, eventually: Any):
    made = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    seen: list[list[str]] = []

    def follow() -> None:
        with httpx2.Client(base_url=http.base_url, timeout=30) as mine:
            seen.append([frame["id"] for frame in told(mine, made)])

    threads = [threading.Thread(target=follow) for _ in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: watchers(http) == 20, within_s=20)
    work = played.begin(made)
    for n in range(200):
        played.write(work, ("stdout", b"%d" % n))
    played.end(work)
    for thread in threads:
        thread.join(30)

    assert len(seen) == 20
    assert all(ids == seen[0] for ids in seen)
    assert len(seen[0]) == 203
