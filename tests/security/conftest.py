"""Where do attacks run? In one sandbox of each form, small limits, and a host around it that has something to lose."""

import json
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.worker.drivers.conftest import (  # noqa: F401 (the fixtures of the drivers)
    agent_dir,
    bubblewrap_r1,
    bubblewrap_r2,
    docker_driver,
    settings,
)

from leasebox_worker.drivers.base import Driver, Handle, Limits, SandboxRequest
from leasebox_worker.drivers.one_job import Ended, Guest

ATTACKS = Path(__file__).parent / "attacks"
MIB = 1 << 20
LIMITS = Limits(cpus=0.5, memory_bytes=96 * MIB, pids=40, open_files=160, disk_bytes=16 * MIB, tmp_bytes=8 * MIB)
FORMS = ("docker_driver", "bubblewrap_r2", "bubblewrap_r1")
RUN_WITHIN_S = 60.0


@dataclass(frozen=True)
class Verdict:
    """What one attack came to, as the attack itself has seen it."""

    name: str
    held: bool
    seen: str


@dataclass(frozen=True)
class Ground:
    """One sandbox to attack.

    Attributes:
        form: Of `FORMS`.
    """

    form: str
    driver: Driver
    handle: Handle
    guest: Guest

    @property
    def is_rootless(self) -> bool:
        """Whether it is the form with documented gaps."""
        return self.form == "bubblewrap_r1"

    def run(self, attack: str, **environment: object) -> Ended:
        """Run `attacks/NAME.py` with these variables in its environment."""
        return self.guest.run(program(attack, {name: str(value) for name, value in environment.items()}), RUN_WITHIN_S)

    def verdicts(self, attack: str, **environment: object) -> list[Verdict]:
        """Run an attack that must come to its own end."""
        ended = self.run(attack, **environment)
        assert ended.code == 0, (ended, ended.stderr.decode(errors="replace")[-2000:])
        return read(ended.stdout)


def program(attack: str, environment: Mapping[str, str]) -> bytes:
    """The source that is sent: the means to give verdicts, the environment, the attack."""
    means = (ATTACKS / "verdict.py").read_text()
    # What a job before has left in the workspace is loaded by a program that looks there, as by any `python3 main.py`.
    setup = "import sys; sys.path[:] = [path for path in sys.path if path not in ('', '/workspace')]\n"
    setup += "import os, types; sys.modules['verdict'] = types.ModuleType('verdict')\n"
    setup += f"exec({means!r}, sys.modules['verdict'].__dict__)\nos.environ.update({dict(environment)!r})\n"
    return (setup + (ATTACKS / f"{attack}.py").read_text()).encode()


def read(stdout: bytes) -> list[Verdict]:
    """The verdicts among what an attack printed."""
    found = []
    for line in stdout.splitlines():
        if line.startswith(b'{"name"'):
            found.append(Verdict(**json.loads(line)))
    return found


def leaked(verdicts: list[Verdict]) -> dict[str, str]:
    """What did not hold, with what was seen."""
    return {verdict.name: verdict.seen for verdict in verdicts if not verdict.held}


def holds_capability(number: int) -> bool:
    """Whether these tests, and so what they start, hold a capability (its number: capability.h)."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> number & 1)


@contextmanager
def standing(form: str, driver: Driver, folder: Path, image: str, **changes: object) -> Iterator[Ground]:
    """A new sandbox of a driver; gone afterwards."""
    asked = SandboxRequest(
        name=f"leasebox-attack-{uuid.uuid4().hex[:12]}",
        profile="default",
        image=image if driver.name == "docker" else "",
        limits=LIMITS,
        seccomp="default",
        labels={},
        agent_dir=folder,
        preload=(),
        dead_man_s=120.0,
        agent_exit_after_s=240.0,
    )
    handle, channel = driver.create(replace(asked, **changes))
    try:
        guest = Guest(channel, handle.workspace)
        guest.ready(30.0)
        yield Ground(form, driver, handle, guest)
    finally:
        channel.close()
        driver.kill(handle)


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The image of a form: asks for the engine only where it is needed."""
    return lambda form: str(request.getfixturevalue("python_image")) if form == "docker_driver" else ""


@pytest.fixture
def ground(request: pytest.FixtureRequest, agent_dir: Path, image: Callable[[str], str]) -> Iterator[Ground]:  # noqa: F811
    """A new sandbox of the form that the test names as its parameter."""
    driver = request.getfixturevalue(request.param)
    with standing(request.param, driver, agent_dir, image(request.param)) as made:
        yield made


@dataclass(frozen=True)
class Canary:
    """What of the host an attack would like to have: a file, a unix socket, a TCP port, an abstract name."""

    file: Path
    socket: Path
    port: int
    abstract: str

    def environment(self) -> dict[str, object]:
        """As attacks are told of it."""
        return {
            "CANARY": self.file,
            "CANARY_SOCKET": self.socket,
            "CANARY_PORT": self.port,
            "CANARY_ABSTRACT": self.abstract,
        }


@pytest.fixture(scope="session")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    """Services and a file of the host that every process of this host can reach."""
    name = f"leasebox-canary-{uuid.uuid4().hex[:8]}"
    file, path = Path("/tmp") / name, Path("/tmp") / f"{name}.sock"
    file.write_text("secret")
    kinds = ((socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_UNIX, str(path)), (socket.AF_UNIX, f"\0{name}"))
    listeners = []
    for family, address in kinds:
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen()
        listeners.append(listener)
    path.chmod(0o666)
    yield Canary(file, path, listeners[0].getsockname()[1], name)
    for listener in listeners:
        listener.close()
    file.unlink()
    path.unlink()
