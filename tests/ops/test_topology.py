"""Does the system of compose.yaml run as it stands there, and go without a trace?"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import DockerEngine, Eventually
from tests.ops import compose
from tests.ops.topology import OF_A_REGISTRY, ROLES, WITHIN_S, Topology, free_port, wait_until_healthy

from leasebox.client import Client

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


def _flower(topology: Topology, path: str) -> httpx2.Response:
    account = (topology.secrets / "flower-account").read_text().strip().split(":")
    return httpx2.get(f"http://127.0.0.1:{topology.flower_port}{path}", auth=(account[0], account[1]))


def test_a_job_comes_in_by_the_api_and_shows_in_flower_and_in_the_metrics(
    topology: Topology, client: Client, eventually: Eventually
) -> None:
    job = client.submit("print(6 * int(input()))  # word-of-the-code", session="s", stdin_open=True)

    def shown(state: str) -> dict[str, Any] | None:
        answer = _flower(topology, f"/api/task/info/{job.id}")
        return answer.json() if answer.status_code == 200 and answer.json()["state"] == state else None

    # Flower asks for events within five seconds, and then shows what runs already.
    eventually(lambda: shown("STARTED"), WITHIN_S)
    job.write_stdin("7\n")
    result = job.result(timeout_s=WITHIN_S)

    assert (result.outcome, result.stdout, result.driver) == ("ok", "42\n", "docker")
    found = eventually(lambda: shown("SUCCESS"), WITHIN_S)
    assert (found["result"], found["worker"], found["kwargs"]) == ("ok", "celery@worker", "tenant=acme session=s")
    assert 'leasebox_jobs_total{outcome="ok"} 1.0' in topology.reach("worker", 8709, "/metrics")
    seen = _flower(topology, "/api/tasks").text + _flower(topology, "/api/workers?refresh=1").text
    assert "word-of-the-code" not in seen
    passwords = [(topology.secrets / f"redis-url-{role}").read_text().split(":")[2].split("@")[0] for role in ROLES]
    assert not [password for password in passwords if password in seen]


def test_the_api_wants_a_key_and_reaches_others_by_this_host_alone(topology: Topology, client: Client) -> None:
    url = f"http://127.0.0.1:{topology.api_port}"

    assert httpx2.get(f"{url}/v1/jobs").status_code == 401
    assert client.nodes()[0].name == "worker"
    published = topology.docker("port", f"{topology.project}-api")
    assert published.strip() == f"8707/tcp -> 127.0.0.1:{topology.api_port}"


@pytest.fixture
def prometheus(topology: Topology, program: Callable[[str, str], Path], tmp_path: Path) -> Iterator[str]:
    """Debian's Prometheus with our configuration, in place of the image's, on this host; its address."""
    served = program("prometheus", "prometheus")
    shutil.copytree(compose.ROOT / "ops" / "prometheus", tmp_path / "p")
    for file in (tmp_path / "p" / "targets").glob("*.yml"):
        text = file.read_text().replace(f"{file.stem}:", f"{topology.address(file.stem)}:")
        file.write_text(text)
    settings = tmp_path / "p" / "prometheus.yml"
    with_key = settings.read_text().replace("# authorization: {", "authorization: {").replace("15s", "1s")
    settings.write_text(with_key)
    (tmp_path / "p" / "leasebox-key").write_text(topology.key)
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--config.file={settings}", f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={address}"]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([served, *flags], stdout=log, stderr=log)
    yield f"http://{address}/api/v1/query"
    child.terminate()
    child.wait(30)


def test_prometheus_reaches_all_that_tells_it_something(
    topology: Topology, client: Client, prometheus: str, eventually: Eventually
) -> None:
    client.run("print(1)", wait_s=WITHIN_S)

    def value(query: str) -> list[Any]:
        try:
            found = httpx2.get(prometheus, params={"query": query}).json()["data"]["result"]
        except httpx2.TransportError:
            return []
        return sorted((series["metric"].get("job"), series["value"][1]) for series in found)

    jobs = ("leasebox-api", "leasebox-exporter", "leasebox-worker")
    eventually(lambda: value("up") == [(job, "1") for job in jobs], WITHIN_S)
    eventually(lambda: value('leasebox_jobs_total{outcome="ok",job="leasebox-worker"} > 0'), WITHIN_S)


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

    assert topology.redis("ACL", "LOG").strip() == ""
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


def test_it_goes_without_leaving_anything(topology: Topology, client: Client) -> None:
    client.run("print(1)", session="last", wait_s=WITHIN_S)
    assert topology.sandboxes()
    topology.clear()

    assert topology.sandboxes() == []
    for what in ("ps --all", "network ls", "volume ls"):
        ours = f"--filter=name={topology.project}"
        assert topology.docker(*what.split(), "--quiet", ours) == ""
    assert topology.tag not in topology.docker("image", "ls", "--format={{.Tag}}")
