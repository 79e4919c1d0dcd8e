"""Does the system of compose.yaml run as it stands there, and go without a trace?"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import DockerEngine, Eventually
from tests.ops.topology import OF_A_REGISTRY, ROLES, WITHIN_S, Topology, wait_until_healthy

from leasebox.client import Client

CODE = "print(6 * int(input())); raise SystemExit(3)  # word-of-the-code"
JOB_ID = "leasebox.job.id"
WATCHED = ("leasebox-api", "leasebox-exporter", "leasebox-worker")
TRACE = {
    ("leasebox-api", "POST /v1/jobs"),
    *(("leasebox-worker", f"leasebox.{name}") for name in ("queue", "job", "lease", "start", "run", "settle")),
}
pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def topology(docker_engine: DockerEngine, python_image: str) -> Iterator[Topology]:
    """All services of the file that this machine has images for, healthy; and a key for the API in `key`."""
    with ExitStack() as stack:
        # The engine mounts parts of it, and a unix socket's path is short (unix(7)).
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbc-", dir="/tmp")))
        folder.chmod(0o755)
        made = Topology(docker_engine, folder)
        stack.callback(made.clear)
        made.build()
        made.lay_out()
        made.start("redis")
        wait_until_healthy(made, "redis")
        created = made.run_once("api", "leasebox", "keys", "create", "--tenant", "acme")
        made.key = json.loads(created)["key"]
        made.tell_prometheus()
        made.collect()
        for name in made.config["services"].keys() - OF_A_REGISTRY - {"redis"}:
            made.start(name)
        for name in made.config["services"].keys() - OF_A_REGISTRY:
            wait_until_healthy(made, name)
        made.installation = made.redis("GET", "lb:installation").strip()
        yield made


@pytest.fixture
def client(topology: Topology) -> Iterator[Client]:
    """A client of the API, with a key."""
    with Client(f"http://127.0.0.1:{topology.api_port}", api_key=topology.key) as client:
        yield client


def test_the_api_wants_a_key_and_reaches_others_by_this_host_alone(topology: Topology, client: Client) -> None:
    url = f"http://127.0.0.1:{topology.api_port}"

    assert httpx2.get(f"{url}/v1/jobs").status_code == 401
    assert client.nodes()[0].name == "worker"
    published = topology.docker("port", f"{topology.project}-api")
    assert published.strip() == f"8707/tcp -> 127.0.0.1:{topology.api_port}"


def test_a_worker_that_was_killed_takes_its_sessions_over_when_it_starts_again(
    topology: Topology, client: Client, eventually: Eventually
) -> None:
    with client.session("kept") as box:
        box.files.write("a.txt", b"still here")
        box.run("x = 41", wait_s=WITHIN_S)
        topology.docker("kill", f"{topology.project}-worker")
        topology.docker("start", f"{topology.project}-worker")
        result = box.run("print(open('a.txt').read(), x + 1)", wait_s=WITHIN_S)

    assert (result.outcome, result.stdout) == ("ok", "still here 42\n")


def test_redis_gives_each_role_what_it_needs_and_no_more(topology: Topology, client: Client) -> None:
    result = client.run("print(1)", wait_s=WITHIN_S)

    refused = topology.redis("ACL", "LOG").strip()
    assert not refused, refused
    for command in (("GET", f"celery-task-meta-{result.job}"), ("HGETALL", f"lb:job:{result.job}"), ("FLUSHALL",)):
        assert "NOPERM" in topology.redis(*command, role="flower")
    for role in ("api", "worker"):
        for command in (
            ("FLUSHALL",),
            ("CONFIG", "SET", "appendonly", "no"),
            ("ACL", "LIST"),
            ("KEYS", "*"),
            ("GET", "x"),
        ):
            assert "NOPERM" in topology.redis(*command, role=role), (role, command)
    assert "NOAUTH" in topology.inside("redis", "redis-cli", "GET", "x")
    topology.redis("ACL", "LOG", "RESET")
    kept = {"appendonly": "yes", "maxmemory-policy": "noeviction"}
    assert {name: topology.redis("CONFIG", "GET", name).split()[1] for name in kept} == kept


def test_a_job_shows_in_flower_in_prometheus_and_as_a_trace_and_nothing_of_it_all_stays(
    topology: Topology, client: Client, eventually: Eventually
) -> None:
    job = client.submit(CODE, session="s", stdin_open=True)
    # Flower asks for events within five seconds, and then shows what runs already.
    eventually(lambda: shown(topology, job.id, "STARTED"), WITHIN_S)
    job.write_stdin("7\n")
    result = job.result(timeout_s=WITHIN_S)
    assert (result.outcome, result.exit_code, result.stdout, result.driver) == ("error", 3, "42\n", "docker")

    found = eventually(lambda: shown(topology, job.id, "SUCCESS"), WITHIN_S)
    assert (found["result"], found["worker"]) == ("error, exit code 3", "celery@worker")
    assert found["kwargs"] == "tenant=acme session=s"
    check_nothing_secret_shows(topology)

    eventually(lambda: measured(topology, "up") == [(job, "1") for job in WATCHED], WITHIN_S)
    for metric in ('leasebox_jobs_total{outcome="error"}', 'sum(leasebox_jobs_ended_total{outcome="error"})'):
        eventually(lambda metric=metric: [value for _, value in measured(topology, metric)] == ["1"], WITHIN_S)

    eventually(lambda: traced(topology, job.id) == TRACE, WITHIN_S)

    assert topology.sandboxes()
    topology.clear()
    assert topology.sandboxes() == []
    for what in ("ps --all", "network ls", "volume ls"):
        ours = f"--filter=name={topology.project}"
        assert topology.docker(*what.split(), "--quiet", ours) == ""
    assert topology.tag not in topology.docker("image", "ls", "--format={{.Tag}}")


def flower(topology: Topology, path: str) -> httpx2.Response:
    """What Flower's own API answers to its account."""
    account = (topology.secrets / "flower-account").read_text().strip().split(":")
    return httpx2.get(f"http://127.0.0.1:{topology.flower_port}{path}", auth=(account[0], account[1]))


def shown(topology: Topology, job: str, state: str) -> dict[str, Any] | None:
    """What Flower says of a job, when it shows it in this state."""
    answer = flower(topology, f"/api/task/info/{job}")
    return answer.json() if answer.status_code == 200 and answer.json()["state"] == state else None


def check_nothing_secret_shows(topology: Topology) -> None:
    """Neither Flower nor what the collector was sent has code, or a password."""
    urls = [(topology.secrets / f"redis-url-{role}").read_text() for role in ROLES]
    secret = ["word-of-the-code", *(url.split(":")[2].split("@")[0] for url in urls)]
    seen = flower(topology, "/api/tasks").text + flower(topology, "/api/workers?refresh=1").text
    seen += "".join(str(span) for span in topology.spans())

    assert not [word for word in secret if word in seen]


def measured(topology: Topology, query: str) -> list[tuple[str | None, str]]:
    """What Prometheus has now: the job that told it, and the value."""
    url = f"http://127.0.0.1:{topology.prometheus_port}/api/v1/query"
    found = httpx2.get(url, params={"query": query}).json()["data"]["result"]
    return sorted((series["metric"].get("job"), series["value"][1]) for series in found)


def traced(topology: Topology, job: str) -> set[tuple[str, str]]:
    """The spans of the one trace in which a job was submitted, by the services that sent them."""
    found = topology.spans()
    submits = [span for span in found if span.service == "leasebox-api" and span.attributes.get(JOB_ID) == job]
    return {(span.service, span.name) for span in found if submits and span.trace == submits[0].trace}
