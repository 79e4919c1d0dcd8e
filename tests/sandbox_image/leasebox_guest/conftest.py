"""A real agent in a real bubblewrap sandbox, as root (R2) and without (R1), and the least of hosts to speak to it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from leasebox_guest.frames import Decoder, Kind, pack, pack_json
from leasebox_guest.install import install

PATIENCE_S = 20.0
JOB_UID = 190_001  # outside of the pool that real workers take uids from
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/workspace", "LANG": "C.UTF-8"}
MIB = 1 << 20


@dataclass
class Ended:
    """What came of one job."""

    stdout: bytes = b""
    stderr: bytes = b""
    refused: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)
    apart: list[bytes] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    restarted: str | None = None

    def __getattr__(self, name: str) -> Any:
        return self.fields[name]

    def has_shown(self, flag: int, data: bytes) -> None:
        """Take a whole bundle (flag 0), or a content that goes before one (flag 2)."""
        if flag:
            self.apart.append(data)
        else:
            self.shown.append(json.loads(data))


class Host:
    """The host's end of one agent."""

    def __init__(self, argv: list[str], **popen: Any) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **popen
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._decoder = Decoder()
        self._frames: list[tuple[int, bytes]] = []
        self._count = 0
        self.forks = "no" not in argv

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self.send_raw(pack(kind, payload))

    def send_raw(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._in, data) :]

    def send_json(self, kind: Kind, /, **fields: Any) -> None:
        self.send_raw(pack_json(kind, fields))

    def read_raw(self, within_s: float = PATIENCE_S) -> bytes:
        """Some bytes; empty at the end."""
        assert select.select([self._out], [], [], within_s)[0], "the agent says nothing"
        return os.read(self._out, 1 << 16)

    def next(self, within_s: float = PATIENCE_S) -> tuple[Kind, bytes]:
        """The next frame; EOFError at the end."""
        while not self._frames:
            data = self.read_raw(within_s)
            if not data:
                raise EOFError(self.crash_text())
            self._frames += self._decoder.feed(data)
        kind, payload = self._frames.pop(0)
        return Kind(kind), payload

    def expect(self, *kinds: Kind) -> dict[str, Any]:
        """Skip frames up to one of these; its JSON."""
        while True:
            kind, payload = self.next()
            if kind in kinds:
                return dict(json.loads(payload)) if payload else {}

    def start(
        self,
        code: str | bytes | None = None,
        *,
        kind: str = "python",
        argv: list[str] | None = None,
        env: dict[str, str] | None = None,
        stdin: bytes | None = b"",
        **fields: Any,
    ) -> str:
        """Send EXEC, CODE and the whole of stdin (None: leave it open); return the job's id."""
        source = code.encode() if isinstance(code, str) else code or b""
        self._count += 1
        spec: dict[str, Any] = {
            "id": f"job-{self._count}",
            "kind": kind,
            "argv": argv or ["main.py"],
            "code_bytes": len(source),
            "code_path": "main.py" if source else None,
            "cwd": "/workspace",
            "env": ENV if env is None else env,
            "wall_s": 15.0,
            "cpu_s": None,
            "silence_s": None,
            "stream_bytes": 64 * MIB,
            "line_buffered": False,
            "cancel_grace_s": 1.0,
        }
        self.send_json(Kind.EXEC, **{**spec, **fields})
        for at in range(0, len(source), 500_000):
            self.send(Kind.CODE, source[at : at + 500_000])
        if stdin is not None:
            for part in [stdin, b""] if stdin else [b""]:
                self.send(Kind.STDIN, part)
        return f"job-{self._count}"

    def end(self) -> Ended:
        """Read up to EXITED or REFUSED."""
        stdout, stderr = bytearray(), bytearray()
        seen = Ended()
        part = bytearray()
        while True:
            kind, payload = self.next()
            if kind is Kind.STDOUT:
                stdout += payload
            elif kind is Kind.STDERR:
                stderr += payload
            elif kind is Kind.STARTED:
                seen.restarted = json.loads(payload).get("restarted")
            elif kind is Kind.INPUT:
                seen.prompts.append(json.loads(payload)["prompt"])
            elif kind is Kind.DISPLAY:
                part += payload[1:]
                if not payload[0] & 1:
                    seen.has_shown(payload[0], bytes(part))
                    part.clear()
            elif kind is Kind.EXITED:
                seen.stdout, seen.stderr, seen.fields = bytes(stdout), bytes(stderr), json.loads(payload)
                return seen
            elif kind is Kind.REFUSED:
                return Ended(refused=json.loads(payload)["reason"])

    def run(self, code: str | bytes | None = None, **options: Any) -> Ended:
        self.start(code, **options)
        return self.end()

    def cell(self, code: str, **options: Any) -> Ended:
        """Run a cell in the kept interpreter."""
        return self.run(code, **{"kind": "cell", "argv": [], "code_path": None, **options})

    def until_output(self, marker: bytes) -> bytes:
        """Read up to the frame in which stdout shows the marker."""
        seen = b""
        while marker not in seen:
            kind, payload = self.next()
            assert kind is not Kind.EXITED, payload
            seen += payload if kind is Kind.STDOUT else b""
        return seen

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int:
        return self._process.wait(PATIENCE_S)

    def crash_text(self) -> str:
        self._process.kill()
        assert self._process.stderr
        return bytes(self._process.stderr.read()).decode(errors="replace")

    def hang_up(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


def _missing() -> str | None:
    if not shutil.which("bwrap"):
        return "bubblewrap is missing: apt-get install bubblewrap"
    if os.geteuid() != 0:
        return "R2 sandboxes need root"
    if not Path("/usr/bin/python3").exists():
        return "the guest's python is missing: apt-get install python3"
    return None


@pytest.fixture(scope="session")
def agent_dir() -> Iterator[Path]:
    """The installed agent, in a place that every uid can reach."""
    if reason := _missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    root.chmod(0o755)
    yield install(root, "3.11")
    shutil.rmtree(root)


def _bwrap(agent_dir: Path, *, rooted: bool, binds: list[str]) -> list[str]:
    words = "--as-pid-1 --unshare-ipc --unshare-pid --unshare-net --unshare-uts --hostname sandbox --die-with-parent"
    words += " --new-session --clearenv --cap-drop ALL --perms 0755 --dir /opt --dir /etc --ro-bind /usr /usr"
    words += " --ro-bind /etc/python3.11 /etc/python3.11"
    words += " --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64"
    words += f" --ro-bind {agent_dir} /agent --proc /proc --dev /dev"
    if rooted:
        words += " --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_KILL"
    else:
        words += " --unshare-user --disable-userns --assert-userns-disabled --uid 10001 --gid 10001"
    end = "--ro-bind /proc/sys /proc/sys --remount-ro /dev --remount-ro / --chdir /workspace"
    end += " --setenv PATH /usr/bin:/bin --setenv HOME / --setenv LANG C.UTF-8"
    return ["bwrap", *words.split(), *binds, *end.split(), "--", "/usr/bin/python3", "-I", "-S", "/agent/boot.py"]


Spawn = Callable[..., Host]


@pytest.fixture(scope="session")
def spawn(agent_dir: Path) -> Iterator[Spawn]:
    """Make a sandbox: `spawn("r2", "--dead-man", "1", agent=other_dir, before="shell line in the workspace")`."""
    hosts: list[Host] = []
    roots: list[str] = []

    def rooted(options: tuple[str, ...], agent: Path, before: str) -> Host:
        root = tempfile.mkdtemp(dir="/tmp")
        roots.append(root)
        mounts = "".join(
            f"mkdir {root}/{name}; mount -t tmpfs -o size={size},nr_inodes=8192,mode=1777,nosuid,nodev t {root}/{name};"
            for name, size in (("ws", "96m"), ("tmp", "80m"), ("shm", "16m"))
        )
        binds = f"--bind {root}/tmp /tmp --bind {root}/shm /dev/shm --bind {root}/ws /workspace".split()
        shell = f'{mounts} (cd {root}/ws; {before or ":"}); exec "$@"'
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", shell, "sh"]
        return Host([*words, *_bwrap(agent, rooted=True, binds=binds), "--job-uid", str(JOB_UID), *options])

    def unprivileged(options: tuple[str, ...], agent: Path) -> Host:
        binds = [
            "--size",
            "80000000",
            "--tmpfs",
            "/tmp",
            "--size",
            "16777216",
            "--tmpfs",
            "/dev/shm",
            "--size",
            "67108864",
            "--tmpfs",
            "/workspace",
        ]
        argv = [*_bwrap(agent, rooted=False, binds=binds), *options]
        return Host(argv, user=JOB_UID, group=JOB_UID, extra_groups=[], cwd="/")

    def make(mode: str, *options: str, agent: Path = agent_dir, before: str = "") -> Host:
        if mode == "plain":  # no sandbox at all: what the driver `process` does, less its other protections
            argv = ["/usr/bin/python3", "-I", "-S", f"{agent}/boot.py", *options]
            host = Host(argv, user=JOB_UID, group=JOB_UID, extra_groups=[], cwd="/")
        else:
            host = rooted(options, agent, before) if mode == "r2" else unprivileged(options, agent)
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.close()
    for root in roots:
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def shared_r2(spawn: Spawn) -> Host:
    host = spawn("r2")
    host.expect(Kind.READY)
    return host


@pytest.fixture(scope="session")
def shared_r1(spawn: Spawn) -> Host:
    host = spawn("r1")
    host.expect(Kind.READY)
    return host


@pytest.fixture(params=["r2", "r1"])
def host(request: pytest.FixtureRequest) -> Host:
    """An agent that other tests use too: whatever a test does, it leaves it idle."""
    return request.getfixturevalue(f"shared_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def forking(shared_r2: Host) -> Host:
    return shared_r2


@pytest.fixture(scope="session")
def executing(spawn: Spawn) -> Host:
    """An agent that never forks a program but execs `python3 main.py`: what the forks are compared with."""
    host = spawn("r2", "--fork", "no")
    host.expect(Kind.READY)
    return host


def eventually(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.01)
