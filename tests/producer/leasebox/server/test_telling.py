"""What does the API's log say of a request?"""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pytest
from tests.producer.contract.telemetry.receivers import events, receiving

from leasebox.config import ClientSettings

ASK = """
import json, os, signal, sys, threading
import httpx2
from leasebox.config import ApiSettings
from leasebox.contract.telemetry.process import heard
from leasebox.server import create_app
from leasebox.server.__main__ import serve

settings = ApiSettings(**json.loads(sys.argv[1]), _env_file=None)
app = create_app(settings)


@app.get("/v1/broken/{name}")
async def broken(name: str) -> None:
    secret = "in a variable"
    raise RuntimeError("in a text")


def ask() -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{settings.api_port}", timeout=60) as http:
        while True:
            try:
                http.get("/healthz")
                break
            except httpx2.TransportError:
                threading.Event().wait(0.02)
        for method, path, body in json.loads(sys.argv[2]):
            http.request(method, path, json=body, headers={"X-Request-Id": "r-1", **json.loads(sys.argv[3])})
    os.kill(os.getpid(), signal.Signals[sys.argv[4]])


with heard(settings, "leasebox-api", "here", is_traced=False):
    threading.Thread(target=ask).start()
    serve(settings, app)
"""


@pytest.fixture
def lines(settings: ClientSettings) -> Any:
    """What an API of its own tells of some requests."""

    def _asked(
        *requests: tuple[str, str, object],
        headers: Mapping[str, str] | None = None,
        end_by: str = "SIGTERM",
        **more: str,
    ) -> list[dict[str, Any]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        given = {"url": settings.url, "prefix": settings.prefix, "home": str(settings.home), "api_port": port, **more}
        command = [
            sys.executable,
            "-c",
            ASK,
            json.dumps(given),
            json.dumps(requests),
            json.dumps(headers or {}),
            end_by,
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
        assert "Traceback" not in ran.stderr
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
    assert "RuntimeError: in a text" in fault["exception"]
    assert "in a variable" not in json.dumps(told)


@pytest.mark.slow
def test_a_fault_of_ours_is_reported_without_what_it_was_about(lines: Any) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    refused = ("POST", "/v1/jobs", {"code": "in the code", "env": {"TOKEN": "in the environment"}, "wrong": 1})
    with receiving() as receiver:
        dsn = receiver.url.replace("://", "://key@") + "/1"
        given = {"authorization": "Bearer in a key", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        asked = (refused, ("GET", "/v1/broken/x?q=in+a+query", None))
        lines(*asked, headers=given, sentry_dsn=dsn, sentry_environment="staging")

    (event,) = events(receiver)
    (error,) = event["exception"]["values"]
    assert (event["message"], error["type"], error["value"]) == ("request_broke", "RuntimeError", "")
    assert error["stacktrace"]["frames"][-1]["function"] == "broken"
    assert (event["environment"], event["release"]) == ("staging", f"leasebox@{version('leasebox')}")
    assert (event["tags"]["request_id"], event["tags"]["trace_id"]) == ("r-1", trace)
    assert not any(b"in a" in body or b"in the" in body for body in receiver.bodies)


MOUNTED = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient
from leasebox.config import ApiSettings
from leasebox.server import create_app

kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
app = create_app(ApiSettings(**json.loads(sys.argv[1]), _env_file=None))
with TestClient(app, "http://localhost", client=("127.0.0.1", 1)) as asked:
    assert asked.get("/version").status_code == 200
    assert asked.get("/healthz").status_code == 200
print(json.dumps([span.name for span in kept.get_finished_spans()]))
"""


@pytest.mark.slow
def test_a_request_is_one_span_also_in_an_application_that_traces(settings: ClientSettings) -> None:
    """FastAPI would trace it once more."""
    given = json.dumps({"url": settings.url, "prefix": settings.prefix, "home": str(settings.home)})
    command = [sys.executable, "-c", MOUNTED, given]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == ["GET /version"]


@pytest.mark.slow
def test_a_terminal_ends_it_as_quietly_as_the_system_does(lines: Any) -> None:
    told = lines(("GET", "/v1/jobs/none", None), end_by="SIGINT")

    assert "request_answered" in [line["event"] for line in told]
