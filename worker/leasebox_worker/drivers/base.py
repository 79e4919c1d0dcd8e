"""What is a sandbox to the rest of the worker? A request, a handle, a raw duplex channel, and a driver that makes them.

Nothing here knows a driver; nothing in a driver knows a job. `conformance.py` is the specification in tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from leasebox.contract.errors import DriverUnsafe, StartFailed

LABEL_INSTALLATION = "leasebox.installation"
LABEL_NODE = "leasebox.node"


class Isolation(StrEnum):
    """How far a driver holds hostile code, as a Result reports it.

    FULL: every required protection of CONTRACT.md section 8. PARTIAL: namespaces, without enforced limits or without
    an agent of another uid. WEAK: no namespaces; only for trusted code.
    """

    FULL = "full"
    PARTIAL = "partial"
    WEAK = "weak"


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use in all; `tmp_bytes` is shared by /tmp (three quarters) and /dev/shm (a quarter)."""

    cpus: float
    memory_bytes: int
    pids: int
    open_files: int
    disk_bytes: int
    tmp_bytes: int


@dataclass(frozen=True)
class SandboxRequest:
    """One sandbox to make.

    Attributes:
        name: Unique on the host; letters, digits, `_.-`.
        image: Image reference (docker), root folder or "" for the host's /usr (bubblewrap); ignored by `process`.
        seccomp: Name of a `seccomp.SeccompProfile`.
        labels: Come back unchanged from `Driver.list`; those of `DriverSettings.labels` are set by the driver.
        agent_dir: Folder of the agent's start files, readable by every uid; mounted read-only at /agent.
        preload: Modules that the agent imports before it forks jobs.
        dead_man_s: Silence of the host after which the agent ends the running job.
        agent_exit_after_s: Silence of the host after which the agent exits.
        egress_dir: Folder of the egress proxy's socket, mounted read-only; None = no job of it ever has a network.
    """

    name: str
    profile: str
    image: str
    limits: Limits
    seccomp: str
    labels: Mapping[str, str]
    agent_dir: Path
    preload: tuple[str, ...]
    dead_man_s: float
    agent_exit_after_s: float
    egress_dir: Path | None = None


@dataclass(frozen=True)
class Handle:
    """Names one sandbox to the driver that made it, also after a restart of the worker.

    Attributes:
        id: Container id, or the name of the state folder.
        pid: The sandbox's first process as the host numbers it, where the driver knew it without asking.
        workspace: Where the jobs' folder is inside; another one than /workspace only without a mount namespace.
    """

    driver: str
    id: str
    name: str
    pid: int | None = None
    workspace: str = "/workspace"


@dataclass(frozen=True)
class Found:
    """A sandbox of this installation that exists; `created_at` in unix seconds.

    Attributes:
        image: The reference that it was made from, or the image's id where that reference names another one by now;
            "" with drivers whose sandboxes do not outlive their worker.
    """

    handle: Handle
    labels: Mapping[str, str]
    created_at: float
    alive: bool
    image: str = ""


@dataclass(frozen=True)
class Stats:
    """What a sandbox used so far, as the kernel counts it. Zeros where a driver has no cgroup (`memory_peak_bytes`).

    Attributes:
        pids_refused: How many forks and threads the pids limit has refused.
        disk_bytes: In the workspace; from `stats` alone, and None where the host cannot look.
    """

    cpu_s: float
    memory_bytes: int
    memory_peak_bytes: int
    oom_kills: int
    pids: int
    pids_refused: int = 0
    disk_bytes: int | None = None


@dataclass(frozen=True)
class Check:
    """One fact about a driver that an operator can change.

    `name` is stable: doctor prints it and `LEASEBOX_ACCEPT_MISSING` waives by it. A check that is not `required` only
    warns.
    """

    name: str
    ok: bool
    required: bool
    detail: str
    hint: str | None = None


@dataclass(frozen=True)
class DriverSettings:
    """What a driver must be told once.

    Attributes:
        installation: Sandboxes of other installations are never listed, swept or killed.
        node: Likewise for other nodes of the same installation.
        state_dir: Folder for state files and mounts, at the same path for the engine when the worker is a container.
        probe_image: Image of the sandbox that `verify` makes.
        docker_host: `unix://` or `tcp://`; None = DOCKER_HOST, else the local socket.
        runtime: Engine runtime such as `runsc`; never replaced by another when missing.
    """

    installation: str
    node: str
    state_dir: Path
    probe_image: str = "leasebox/python"
    docker_host: str | None = None
    runtime: str | None = None
    accept_missing: frozenset[str] = field(default_factory=frozenset)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of each sandbox of this node, by which it is found again."""
        return {LABEL_INSTALLATION: self.installation, LABEL_NODE: self.node}


class EngineDown(StartFailed):
    """The engine itself refuses or does not answer in time: no sandbox can be made now, whoever asks."""


class ChannelClosed(ConnectionError):
    """The other end is gone: the agent exited, the sandbox was killed, or `close` was called."""


class Channel(Protocol):
    """Raw bytes to and from the agent; frames are not its business. One reader and one writer may use it at once."""

    @property
    def crash_text(self) -> str:
        """Tail of what the agent wrote to its stderr, at most 8 KiB; complete once the channel closed."""

    def send(self, data: bytes) -> None:
        """Write all of `data`; blocks while the agent does not read.

        Raises:
            ChannelClosed: Nobody reads any more; part of `data` may have arrived.
        """

    def receive(self, timeout_s: float | None) -> bytes | None:
        """The next bytes, never b""; None when none came within `timeout_s` (None waits for ever).

        Raises:
            ChannelClosed: End of the stream; all bytes before it were returned.
        """

    def fileno(self) -> int:
        """Becomes readable when `receive` has something to do; nothing is ever held back between calls."""

    def close(self) -> None:
        """Let go; a Docker sandbox lives on, any other ends. May be called twice and while another thread receives."""


class Driver(Protocol):
    """Makes, finds and ends sandboxes. Synchronous; every method may be called from any thread."""

    name: str
    outlives_worker: bool
    """Whether its sandboxes go on without their worker, so that the next one finds and attaches them."""

    @property
    def isolation(self) -> Isolation:
        """How far this driver, on this host, holds hostile code."""

    def ping(self) -> None:
        """Ask the engine for a sign of life, within seconds; without an engine nothing happens.

        Raises:
            EngineDown: There was none.
        """

    def check(self) -> list[Check]:
        """Facts about engine and host; makes no sandbox and raises nothing for a missing protection."""

    def verify(self, agent_dir: Path) -> list[Check]:
        """Make a sandbox with the real settings, look from inside, compare with what was asked.

        Raises:
            StartFailed, ImageMissing: The probe sandbox did not start, which says nothing about protections.
        """

    def create(self, request: SandboxRequest) -> tuple[Handle, Channel]:
        """Start a sandbox; the channel is attached before the start, so that READY is not missed.

        Raises:
            ImageMissing: The image is not there; nothing is pulled.
            EngineDown: Nobody can start one now. What the engine makes of it later is reconcile's to find.
            StartFailed: It did not start; nothing is left behind.
        """

    def attach(self, handle: Handle) -> Channel:
        """A new channel to a running sandbox; it starts anywhere in the agent's stream, so send RESYNC first.

        Raises:
            SandboxDied: It is gone, or its driver cannot attach again (every one but docker).
        """

    def kill(self, handle: Handle) -> None:
        """End it and remove all that belongs to it; a sandbox that is already gone is fine."""

    def list(self) -> list[Found]:
        """The sandboxes of this installation and node, also those of earlier incarnations."""

    def stats(self, handle: Handle) -> Stats:
        """What it used so far.

        Raises:
            SandboxDied: It is gone.
        """

    def quick_stats(self, handle: Handle) -> Stats | None:
        """As `stats`, for each job's end: None where that takes more than reading some files of this host.

        Raises:
            SandboxDied: It is gone.
        """

    def close(self) -> None:
        """Let go of connections and threads. Sandboxes that end with the worker end here."""


WAIVABLE = frozenset(
    {
        *("agent-uid", "capabilities", "cgroup", "confinement", "cpu-limit", "disk-limit", "inode-limit", "ipc-limits"),
        "landlock",
        *("masked-paths", "memory-limit", "mount-flags", "namespaces", "network", "no-groups", "no-new-privileges"),
        *("own-uid", "pids-limit", "read-only-root", "seccomp", "swap-limit", "ulimits", "workspace-mode"),
    }
)
"""Names of the required protections that an operator can do without; the others say that nothing can run at all."""


def require(checks: Iterable[Check], accept_missing: frozenset[str] = frozenset()) -> Sequence[Check]:
    """The checks that only warn; a required one that failed and was not accepted by name is an error.

    Raises:
        DriverUnsafe: At least one; `detail` names all of them.
    """
    failed = [check for check in checks if not check.ok]
    refused = [check for check in failed if check.required and check.name not in accept_missing]
    if refused:
        raise DriverUnsafe(
            "; ".join(f"{check.name}: {check.detail}" for check in refused),
            hint=next((check.hint for check in refused if check.hint), None),
        )
    return failed
