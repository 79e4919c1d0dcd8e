"""Do two hosts with engines of their own, and one Redis with TLS and a user for each role, work as the page says?"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import redis as redis_py
from tests.ops.conftest import BACKUP, OPS, RESTORE, run
from tests.ops.second_host import HERE, SecondHost, free_port, second_host
from tests.ops.test_redis_users import users
from tests.processes import process

from leasebox.client import Client
from leasebox.contract.errors import BrokerUnavailable

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(600)]
WAIT_S = 120.0
TIMERS = {"LEASEBOX_TIMERS__RECLAIM_S": "15", "LEASEBOX_TIMERS__ADOPT_GRACE_S": "20"}


def certificates(folder: Path) -> Path:
    """An authority of the test's own, and a certificate for both addresses; gives the authority's."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority")
    names = f"subjectAltName=IP:127.0.0.1,IP:{HERE}"
    openssl("req", *key[:-2], "-keyout", "redis.key", "-out", "redis.csr", "-subj", "/CN=redis", "-addext", names)
    openssl(
        "x509", "-req", "-in", "redis.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
        "-copy_extensions", "copy", "-out", "redis.crt",
    )  # fmt: skip
    return folder / "ca.crt"


@dataclass(frozen=True)
class Topology:
    """Both hosts, the Redis between them, and the processes by the name of their node."""

    other: SecondHost
    folder: Path
    port: int
    authority: Path
    command: list[str]

    def url(self, role: str, address: str = "127.0.0.1") -> str:
        return f"rediss://{role}:{role}@{address}:{self.port}/0?ssl_ca_certs={quote(str(self.authority))}"

    def operator(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.url("operator"), decode_responses=True)

    def worker(self, node: str, **settings: str) -> list[str]:
        """What starts a worker: `a` here, `b` on the other host."""
        home = self.folder / node
        home.mkdir(exist_ok=True)
        is_here = node == "a"
        given = {"URL": self.url("worker", "127.0.0.1" if is_here else HERE), "HOME": str(home), "SLOTS": "4"}
        given |= {} if is_here else {"DOCKER_HOST": self.other.docker_host}
        variables = [f"LEASEBOX_{name}={value}" for name, value in given.items()]
        variables += [f"{name}={value}" for name, value in (TIMERS | settings).items()]
        command = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", "docker", "--node", node]
        return [*(() if is_here else self.other.inside), "env", *variables, *command]


@pytest.fixture
def hosts(program, docker_engine, python_image, home: Path, eventually) -> Iterator[Topology]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a second host")
    for name, package in (("ip", "iproute2"), ("openssl", "openssl"), ("nsenter", "util-linux")):
        program(name, package)
    # Debian's one program is server and check, by its name; its package starts no service, that of the server would.
    (home / "redis-server").symlink_to(program("redis-check-rdb", "redis-tools"))
    port, authority = free_port(), certificates(home)
    (home / "data").mkdir()
    command = [
        str(home / "redis-server"), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", HERE,
        "--tls-cert-file", str(home / "redis.crt"), "--tls-key-file", str(home / "redis.key"),
        "--tls-ca-cert-file", str(authority), "--tls-auth-clients", "no", "--aclfile", str(users(home)),
        "--appendonly", "yes", "--dir", str(home / "data"),
    ]  # fmt: skip
    with ExitStack() as stack:
        other = stack.enter_context(second_host(OPS / "docker" / "daemon.json", eventually))
        load = f"docker save {python_image} | docker -H {other.docker_host} load"
        subprocess.run(["bash", "-o", "pipefail", "-c", load], check=True, capture_output=True)
        yield Topology(other, home, port, authority, command)
        docker_engine.remove_all()


def test_two_hosts_share_the_work_and_outlive_each_other(hosts: Topology, docker_engine, eventually) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(process(hosts.command, hosts.folder / "redis.log"))
        admin = stack.enter_context(hosts.operator())
        eventually(lambda: answers(admin), within_s=30)
        admin.set("lb:installation", docker_engine.installation)
        on = {node: stack.enter_context(process(hosts.worker(node), hosts.folder / f"{node}.log")) for node in "ab"}
        eventually(lambda: set(admin.zrange("lb:nodes", 0, -1)) == {"a", "b"}, within_s=WAIT_S)
        client = stack.enter_context(Client(hosts.url("client")))

        each_takes_its_part(client, hosts, docker_engine)
        nobody_comes_in_otherwise(hosts)
        assert backed_up(hosts).stat().st_size > 1000

        lived_on = client.run("open('f', 'w').write('x')", session="s", wait_s=WAIT_S).node
        left = "b" if lived_on == "a" else "a"
        assert client.run("print(open('f').read())", session="s", wait_s=WAIT_S).node == lived_on
        os.kill(on[lived_on].pid, signal.SIGKILL)
        again = client.run("import os; print(os.path.exists('f'))", session="s", wait_s=WAIT_S)
        assert (again.node, again.stdout) == (left, "False\n")
        assert [e.reason for e in client.job(again.job).events() if e.type == "session_restarted"] == ["lost"]

        on[lived_on] = stack.enter_context(process(hosts.worker(lived_on), hosts.folder / f"{lived_on}.log"))
        eventually(lambda: is_up(client, lived_on), within_s=WAIT_S)
        drained = run("-m", "leasebox_worker.cli", "drain", left, "--destroy", LEASEBOX_URL=hosts.url("worker"))
        assert drained.returncode == 0, drained.stderr
        assert {client.run("1", wait_s=WAIT_S).node for _ in range(4)} == {lived_on}
        drained = run("-m", "leasebox_worker.cli", "drain", lived_on, "--destroy", LEASEBOX_URL=hosts.url("worker"))
        assert drained.returncode == 0, drained.stderr
        assert not [(entry["username"], entry["object"]) for entry in admin.acl_log() if entry["reason"] != "auth"]
        assert server.poll() is None
    assert hosts.other.engine().containers.list(all=True) == []
    a_restore_brings_all_of_it_back(hosts, eventually)


def answers(admin: redis_py.Redis) -> bool:
    try:
        return bool(admin.ping())
    except redis_py.RedisError:
        return False


def is_up(client: Client, node: str) -> bool:
    return any(known.name == node and known.state == "up" for known in client.nodes())


def each_takes_its_part(client: Client, hosts: Topology, docker_engine) -> None:
    code = "import time; time.sleep(1); print(1)"
    done = [handle.result(timeout_s=WAIT_S) for handle in [client.submit(code) for _ in range(16)]]
    assert {result.outcome for result in done} == {"ok"}
    assert {result.node for result in done} == {"a", "b"}
    label = {"label": f"leasebox.installation={docker_engine.installation}"}
    for engine, node in ((docker_engine.client, "a"), (hosts.other.engine(), "b")):
        found = engine.containers.list(all=True, filters=label, ignore_removed=True)
        assert {container.labels["leasebox.node"] for container in found} == {node}


def nobody_comes_in_otherwise(hosts: Topology) -> None:
    plain = f"redis://client:client@127.0.0.1:{hosts.port}/0"
    unknown_authority = hosts.url("client").partition("?")[0]
    for url in (plain, unknown_authority):
        with Client(url) as client, pytest.raises(BrokerUnavailable):
            client.nodes()
    nameless = redis_py.Redis("127.0.0.1", hosts.port, ssl=True, ssl_ca_certs=str(hosts.authority))
    with nameless, pytest.raises(redis_py.AuthenticationError):
        nameless.ping()


def backed_up(hosts: Topology) -> Path:
    told = run(BACKUP, hosts.folder / "b.rdb", LEASEBOX_URL=hosts.url("backup"))
    assert told.returncode == 0, told.stderr
    return hosts.folder / "b.rdb"


def a_restore_brings_all_of_it_back(hosts: Topology, eventually) -> None:
    """Redis itself, where the other tests of restores have Valkey."""
    told = run(RESTORE, hosts.folder / "b.rdb", hosts.folder / "data")
    assert told.returncode == 0, told.stderr
    with process(hosts.command, hosts.folder / "redis.log"), hosts.operator() as admin:
        eventually(lambda: answers(admin), within_s=30)
        with Client(hosts.url("client")) as client:
            assert len(client.jobs()) == 16
