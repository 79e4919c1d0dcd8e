"""How is the system of compose.yaml started on a plain engine? Its services as containers, from images built here.

Redis' and Prometheus' are made of Debian's packages. Grafana is left out: its image comes from a registry alone.
`Topology.start` starts whatever else has a service in the file, `collect` what traces go to, and `spans` has them.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import DockerEngine
from tests.ops import compose
from tests.producer.contract.telemetry.receivers import Receiver, Span, spans

CONTEXT = ("pyproject.toml", "README.md", "LICENSE", ".dockerignore", "producer", "worker", "sandbox_image", "ops")
BUILT = ("api", "worker", "flower")
ROLES = ("api", "worker", "flower", "operator")
OF_A_REGISTRY = {"grafana"}
OF_DEBIAN = {
    "redis": """
FROM leasebox/python
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
RUN install --directory --owner 999 --group 1000 /data
""",
    # As the one of the registry: the program is the entrypoint, nobody runs it, and its check asks with wget.
    "prometheus": """
FROM leasebox/python
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus wget && rm -rf /var/lib/apt/lists/*
RUN install --directory --owner 65534 --group 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/usr/bin/prometheus"]
""",
}
COLLECTOR = Path(__file__).with_name("collector.py")
COLLECTOR_PORT = 4318
ASYNC_TIMEOUT = "async-timeout>=4.0.3"
"""Debian's Python is 3.11.2, for which redis-py wants it; the one that downloads may be newer."""
HEALTHY = "health_status: healthy"
WITHIN_S = 120.0


class Topology:
    """The containers, networks and volumes of one start of compose.yaml."""

    def __init__(self, engine: DockerEngine, folder: Path) -> None:
        self.project = f"leasebox-{engine.installation}"
        self.tag = engine.installation
        self.folder, self.secrets = folder, folder / "secrets"
        self.root, self.bodies = folder / "root", folder / "bodies"
        self._labels = [f"--label={name}={value}" for name, value in engine.labels.items()]
        self.api_port, self.flower_port, self.prometheus_port = free_port(), free_port(), free_port()
        self.key = self.installation = ""
        self.home = folder / "home"
        self.home.mkdir(mode=0o755)
        self.config = compose.load(
            {
                "LEASEBOX_TAG": self.tag,
                "REDIS_IMAGE": f"leasebox/redis:{self.tag}",
                "PROMETHEUS_IMAGE": f"leasebox/prometheus:{self.tag}",
                "LEASEBOX_WORKER_HOME": str(self.home),
                "LEASEBOX_JOB_SECRETS": str(self.secrets / "jobs"),
                "LEASEBOX_ON_EXIT": "destroy",
                "LEASEBOX_API_PORT": str(self.api_port),
                "FLOWER_PORT": str(self.flower_port),
                "PROMETHEUS_PORT": str(self.prometheus_port),
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://collector:{COLLECTOR_PORT}",
            }
        )

    def build(self) -> None:
        """Make the images, without an index: from wheels of this machine."""
        self.root.mkdir(mode=0o755)
        for name in CONTEXT:
            source = compose.ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, self.root / name)
        wheels = self.root / "ops" / "docker" / "wheels"
        wanted = [".[server,worker,otel]", "flower>=2.2,<3", "celery[redis]>=5.7,<6", "hatchling", ASYNC_TIMEOUT]
        run([shutil.which("pip") or "pip", "wheel", "--quiet", f"--wheel-dir={wheels}", *wanted], cwd=compose.ROOT)
        arguments = {"BASE": "leasebox/python", "PIP_ARGS": "--no-index --find-links /src/ops/docker/wheels"}
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        for role in BUILT:
            recipe = self.root / self.config["services"][role]["build"]["dockerfile"]
            command = ["build", "--quiet", "--force-rm", f"--file={recipe}", *given]
            # Named, so that it can be taken away: else each build would leave it behind without a name.
            self.docker(*command, "--target=build", f"--tag=leasebox/{role}-build:{self.tag}", str(self.root))
            self.docker(*command, f"--tag=leasebox/{role}:{self.tag}", str(self.root))
        for name, text in OF_DEBIAN.items():
            image = f"--tag=leasebox/{name}:{self.tag}"
            self.docker("build", "--quiet", "--force-rm", "--network=host", image, "-", input=text.encode())

    def lay_out(self) -> None:
        """Make secrets, networks and volumes."""
        run([str(compose.ROOT / "ops" / "make-secrets.sh"), str(self.secrets)])
        for name, given in self.config["networks"].items():
            flags = ["--internal"] if given.get("internal") else []
            self.docker("network", "create", *flags, *self._labels, f"{self.project}-{name}")
        for name in self.config["volumes"]:
            self.docker("volume", "create", *self._labels, f"{self.project}-{name}")

    def tell_prometheus(self) -> None:
        """Give it a key, as docs/how-to/compose.md says; and let it look each second instead of each 15."""
        folder = self.root / "ops" / "prometheus"
        (folder / "leasebox-key").write_text(self.key)
        text = (folder / "prometheus.yml").read_text()
        text = text.replace("# authorization: {", "authorization: {").replace("15s", "1s")
        (folder / "prometheus.yml").write_text(text)

    def collect(self) -> None:
        """Start a receiver of OTLP, as the service `collector` that API and worker are told of."""
        self.bodies.mkdir()
        self.bodies.chmod(0o777)  # no user of this host runs it
        flags = ["--detach", f"--name={self.project}-collector", f"--network={self.project}-backend"]
        flags += [
            "--network-alias=collector",
            f"--volume={COLLECTOR}:/collector.py:ro",
            f"--volume={self.bodies}:/bodies",
        ]
        command = ["python", "/collector.py", str(COLLECTOR_PORT), "/bodies"]
        self.docker("run", *self._labels, *flags, f"leasebox/api:{self.tag}", *command)

    def spans(self) -> list[Span]:
        """What has come to the collector so far."""
        return spans(Receiver(bodies=[path.read_bytes() for path in self.bodies.glob("*.otlp")]))

    def start(self, name: str) -> None:
        """Start a service as the file says, and connect it to its further networks."""
        arguments = compose.run_arguments(self.project, name, self.config, self.root, self.secrets)
        self.docker("run", *self._labels, *arguments)
        for network in self.config["services"][name]["networks"][1:]:
            self.docker("network", "connect", "--alias", name, f"{self.project}-{network}", f"{self.project}-{name}")

    def run_once(self, name: str, *command: str) -> str:
        """As `docker compose run --rm`: another command in a container of a service."""
        config = {**self.config, "services": {name: {**self.config["services"][name], "command": list(command)}}}
        config["services"][name].pop("ports", None)
        config["services"][name].pop("restart")
        arguments = compose.run_arguments(f"{self.project}-once", name, config, self.root, self.secrets)
        network = f"{self.project}-{self.config['services'][name]['networks'][0]}"
        arguments = [argument for argument in arguments if argument != "--detach"]
        arguments[arguments.index("--network") + 1] = network
        return self.docker("run", "--rm", *self._labels, *arguments)

    def redis(self, *command: str, role: str = "operator") -> str:
        """What Redis answers to one of its users."""
        url = (self.secrets / f"redis-url-{role}").read_text().strip()
        return self.inside(
            "redis", "redis-cli", "--no-auth-warning", "-u", url.replace("@redis", "@127.0.0.1"), *command
        )

    def inside(self, name: str, *command: str) -> str:
        """What a command prints in a running container."""
        return self.docker("exec", f"{self.project}-{name}", *command)

    def log(self, name: str) -> str:
        """The end of what a service wrote."""
        logs = subprocess.run(["docker", "logs", "--tail=40", f"{self.project}-{name}"], capture_output=True, text=True)
        return logs.stdout + logs.stderr

    def docker(self, *arguments: str, **given: Any) -> str:
        """A command of Docker's own client; its answer."""
        return run(["docker", *arguments], **given)

    def clear(self) -> None:
        """Take away all that was made, the sandboxes of this installation included."""
        ours = [f"--filter={flag[2:]}" for flag in self._labels]
        for name in self.config["services"]:
            _may_fail(["docker", "stop", f"{self.project}-{name}"])
        for what, remove in (
            ("ps --all", "rm --force --volumes"),
            ("network ls", "network rm"),
            ("volume ls", "volume rm"),
        ):
            found = run(["docker", *what.split(), "--quiet", *ours]).split()
            if found:
                _may_fail(["docker", *remove.split(), *found])
        for name in (*OF_DEBIAN, *BUILT, *(f"{role}-build" for role in BUILT)):
            _may_fail(["docker", "image", "rm", f"leasebox/{name}:{self.tag}"])

    def sandboxes(self) -> list[str]:
        """The containers that the worker had made."""
        return self.docker(
            "ps", "--all", "--quiet", f"--filter=label=leasebox.installation={self.installation}"
        ).split()


def run(command: list[str], **given: Any) -> str:
    """What a command prints; it must end well."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=600, **given)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout.decode()[-3000:]}{done.stderr.decode()[-3000:]}"
    return done.stdout.decode()


def _may_fail(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, timeout=120)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(made: Topology, name: str) -> None:
    """Wait until a service's own check says so, however long ago that was."""
    until, container = int(time.time() + WITHIN_S), f"{made.project}-{name}"
    told = ["--since=30m", f"--until={until}", f"--filter=container={container}", "--format={{.Action}}"]
    with subprocess.Popen(["docker", "events", *told], stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        seen = next((line.strip() for line in events.stdout if line.strip() in {HEALTHY, "die"}), "never healthy")
        events.terminate()
    if seen != HEALTHY:
        pytest.fail(f"{name}: {seen}\n{made.log(name)}")
