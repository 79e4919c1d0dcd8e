"""What is a second host, on one machine? A network namespace with an engine of its own, and a wire to the first.

An engine rewrites the firewall and the bridge of its network namespace, so a second one must never share the first's.
`unshare` and `nsenter` rather than `ip netns`: that would hide the cgroup file systems of version 1, and leave a mount.
"""

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from tests.conftest import unmount_below
from tests.processes import process

HERE, THERE = "10.213.77.1", "10.213.77.2"
CONTAINERD = """
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{folder}/containerd.sock"
"""


@dataclass(frozen=True)
class SecondHost:
    """A running one.

    Attributes:
        inside: What stands before a command that is to run there.
        docker_host: Where its engine listens.
    """

    folder: Path
    inside: tuple[str, ...]
    docker_host: str

    def engine(self) -> docker.DockerClient:
        return docker.DockerClient(self.docker_host, timeout=120)


@contextmanager
def second_host(daemon_json: Path, eventually) -> Iterator[SecondHost]:
    """Start it with these settings of the engine; all of it ends with the block, and no mount is left."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="lb2-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(unmount_below, folder)
        folder.chmod(0o711)  # remapped users pass through
        # Whatever starts first holds the namespace; it lasts as long as a process is in it.
        anchor = stack.enter_context(process(["unshare", "--net", "sleep", "infinity"], folder / "anchor.log"))
        eventually(lambda: Path(f"/proc/{anchor.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())
        inside = ("nsenter", f"--net=/proc/{anchor.pid}/ns/net")
        stack.enter_context(wire(anchor.pid, inside))
        (folder / "containerd.toml").write_text(CONTAINERD.format(folder=folder))
        containerd = [*inside, "containerd", "--config", str(folder / "containerd.toml")]
        stack.enter_context(process(containerd, folder / "containerd.log"))
        eventually((folder / "containerd.sock").exists, within_s=60)
        settings = json.loads(daemon_json.read_text())
        (folder / "daemon.json").write_text(json.dumps(settings))
        dockerd = [
            *inside, "dockerd", f"--config-file={folder}/daemon.json", f"--host=unix://{folder}/docker.sock",
            f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/docker.pid",
            f"--containerd={folder}/containerd.sock", "--bridge=none", "--ip-forward=false",
        ]  # fmt: skip
        stack.enter_context(process(dockerd, folder / "dockerd.log"))
        made = SecondHost(folder, inside, f"unix://{folder}/docker.sock")
        eventually(lambda: answers(made), within_s=120)
        yield made


@contextmanager
def wire(pid: int, inside: tuple[str, ...]) -> Iterator[None]:
    """A cable between this namespace and the one of `pid`."""

    def ip(*words: str, before: tuple[str, ...] = ()) -> None:
        subprocess.run([*before, "ip", *words], check=True)

    ip("link", "add", "lb2-here", "type", "veth", "peer", "name", "lb2-there", "netns", str(pid))
    try:
        ip("address", "add", f"{HERE}/30", "dev", "lb2-here")
        ip("link", "set", "lb2-here", "up")
        for words in (f"address add {THERE}/30 dev lb2-there", "link set lb2-there up", "link set lo up"):
            ip(*words.split(), before=inside)
        yield
    finally:
        ip("link", "delete", "lb2-here")


def answers(host: SecondHost) -> bool:
    with suppress(docker.errors.DockerException, OSError):
        return bool(host.engine().ping())
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
