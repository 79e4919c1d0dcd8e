"""What somebody with nothing but HTTP sees of a live system: follow, cut, resume; restarts; Redis gone."""

import json
import os
import signal
import subprocess
import threading
from typing import Any

import httpx2
import redis
from tests.acceptance.conftest import DOORS, Live, api_process

from leasebox import Client

pytestmark = DOORS
WAIT_S = 60.0
COUNT = "import time\nfor n in range(200):\n    print(n, flush=True)\n    time.sleep(0.01)"
EXPECTED = "".join(f"{n}\n" for n in range(200))


def curl(*words: str, within_s: float = WAIT_S) -> str:
    """Everything that curl prints."""
    command = ["curl", "-sS", "-N", "--max-time", str(within_s), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 28), done.stderr  # 28: the time was up, as asked
    return done.stdout


def frames(text: str) -> list[tuple[str, str, Any]]:
    """The whole events of a stream: id, type, data."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


def output(found: list[tuple[str, str, Any]]) -> str:
    return "".join(data["text"] for _, kind, data in found if kind == "stdout")


def submit(api: str, code: str, **spec: Any) -> str:
    answer = curl("-H", "Content-Type: application/json", "-d", json.dumps({"code": code, **spec}), f"{api}/v1/jobs")
    return str(json.loads(answer)["id"])


def test_with_curl_a_stream_that_is_cut_is_resumed_without_a_line_lost_or_doubled(api: str) -> None:
    job = submit(api, COUNT)
    parts: list[tuple[str, str, Any]] = []
    for within_s in (0.7, 0.4, 0.6, WAIT_S):
        last = ["-H", f"Last-Event-ID: {parts[-1][0]}"] if parts else []
        parts += frames(curl(*last, f"{api}/v1/jobs/{job}/events", within_s=within_s))

    assert output(parts) == EXPECTED
    assert [kind for _, kind, _ in parts].count("finished") == 1
    assert len({name for name, _, _ in parts}) == len(parts)


def test_with_curl_a_job_is_cancelled(api: str) -> None:
    job = submit(api, "import time; print('on', flush=True); time.sleep(60)")
    threading.Timer(1.0, lambda: curl("-X", "POST", f"{api}/v1/jobs/{job}/cancel")).start()

    assert frames(curl(f"{api}/v1/jobs/{job}/events"))[-1][2]["result"]["outcome"] == "cancelled"


def test_waiting_in_the_submit_gives_the_result(api: str) -> None:
    answer = httpx2.post(f"{api}/v1/jobs", params={"wait": 60}, json={"code": "print(6 * 7)"}, timeout=90)

    assert (answer.status_code, answer.json()["result"]["stdout"]) == (200, "42\n")


def test_a_client_resumes_when_the_api_is_restarted_in_mid_stream(live: Live) -> None:
    with api_process(live) as (url, first):
        port = url.rpartition(":")[2]
        with Client(url) as client:
            stream = client.submit(COUNT).events(timeout_s=WAIT_S)
            seen = []
            for event in stream:
                seen.append(event)
                if event.type == "stdout":
                    break
            first.send_signal(signal.SIGKILL)
            first.wait()
            with api_process(live, LEASEBOX_API_PORT=port):
                seen += list(stream)

    assert b"".join(event.data for event in seen if event.type == "stdout").decode() == EXPECTED
    assert [event.type for event in seen].count("finished") == 1


def test_two_apis_serve_one_stream_in_turn(live: Live, api: str) -> None:
    with api_process(live) as (other, _):
        job = submit(api, COUNT)
        first = frames(curl(f"{api}/v1/jobs/{job}/events", within_s=1.0))
        rest = frames(curl("-H", f"Last-Event-ID: {first[-1][0]}", f"{other}/v1/jobs/{job}/events"))

    assert output(first + rest) == EXPECTED


def test_without_redis_requests_are_503_and_open_streams_go_on_when_it_is_back(live: Live, api: str) -> None:
    with live.client() as client:
        job = client.submit("print('a', flush=True)\nimport time; time.sleep(3)\nprint('b')").id
        redis_pid = _redis_pid(live)
    streamed: list[str] = []
    has_begun = threading.Event()

    def follow() -> None:
        with httpx2.stream("GET", f"{api}/v1/jobs/{job}/events", timeout=WAIT_S) as answer:
            for text in answer.iter_text():
                streamed.append(text)
                has_begun.set()

    reader = threading.Thread(target=follow)
    reader.start()
    assert has_begun.wait(WAIT_S)
    _stop(redis_pid)
    try:
        refused = httpx2.get(f"{api}/v1/jobs", timeout=60)
        ready, health = httpx2.get(f"{api}/readyz", timeout=60), httpx2.get(f"{api}/healthz")
    finally:
        _go_on(redis_pid)
    reader.join(WAIT_S)

    assert (refused.status_code, refused.json()["code"]) == (503, "broker_unavailable")
    assert "retry-after" in refused.headers
    assert (ready.status_code, health.status_code) == (503, 200)
    assert output(frames("".join(streamed))) == "a\nb\n"
    assert httpx2.get(f"{api}/readyz").status_code == 200


def _redis_pid(live: Live) -> int:
    with redis.Redis(unix_socket_path=str(live.home / "s")) as connection:
        return int(connection.info("server")["process_id"])


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def _go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
