"""What does the API's log say of a request?"""

import json
import subprocess
import sys
from typing import Any

import pytest

from leasebox.config import ClientSettings

ASK = """
import json, logging, sys, threading
import httpx2, uvicorn
from leasebox.config import ApiSettings
from leasebox.server import create_app
from leasebox.server.__main__ import _log

settings = ApiSettings(**json.loads(sys.argv[1]), _env_file=None)
_log(settings)
app = create_app(settings)


@app.get("/v1/broken/{name}")
async def broken(name: str) -> None:
    raise RuntimeError("ours")


import socket
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="info", timeout_graceful_shutdown=1))
thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
thread.start()
while not server.started:
    threading.Event().wait(0.01)
with httpx2.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as http:
    for method, path, body in json.loads(sys.argv[2]):
        http.request(method, path, json=body, headers={"X-Request-Id": "r-1"})
server.should_exit = True
thread.join(30)
"""


@pytest.fixture
def lines(settings: ClientSettings) -> Any:
    """What an API of its own tells of some requests."""

    def _asked(*requests: tuple[str, str, object], level: str = "info") -> list[dict[str, Any]]:
        given = {"url": settings.url, "prefix": settings.prefix, "home": str(settings.home), "log_level": level}
        command = [sys.executable, "-c", ASK, json.dumps(given), json.dumps(requests)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    return _asked


@pytest.mark.slow
def test_one_line_says_what_was_asked_by_whom_and_which_job_it_made(lines: Any) -> None:
    spec = {"code": "secret = 'in the code'", "env": {"TOKEN": "in the environment"}, "session": "s-1"}
    told = lines(("POST", "/v1/jobs", spec), ("GET", "/v1/jobs/none%0Aforged", None), ("GET", "/healthz", None))

    made, none = (line for line in told if line["event"] == "request_answered")
    assert (made["method"], made["route"], made["status"]) == ("POST", "/v1/jobs", 202)
    assert (made["request_id"], made["tenant"], made["session_id"]) == ("r-1", "default", "s-1")
    assert len(made["job_id"]) == 36
    assert (none["status"], none["route"]) == (404, "/v1/jobs/{job}")
    assert "in the" not in json.dumps(told)


@pytest.mark.slow
def test_a_fault_of_ours_is_told_once_with_the_ids_of_its_request(lines: Any) -> None:
    told = lines(("GET", "/v1/broken/x", None))

    (fault,) = (line for line in told if line["level"] == "error")
    assert (fault["event"], fault["request_id"]) == ("request_broke", "r-1")
    assert "RuntimeError: ours" in fault["exception"]
