"""Sandboxes as plain processes, for trusted code or where namespaces are forbidden: weak isolation, and it says so.

What holds: a uid of their own when root, rlimits, no-new-privileges, a seccomp filter without any socket, Landlock
(files, TCP, signals). What does not: the host's /proc is readable, memory is bounded per process, disk not at all.
"""

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from leasebox.contract.errors import LeaseboxError, SandboxDied, StartFailed
from leasebox_worker.drivers import hardening, landlock, process_tree
from leasebox_worker.drivers.base import (
    Channel,
    Check,
    DriverSettings,
    Found,
    Handle,
    Isolation,
    SandboxRequest,
    Stats,
)
from leasebox_worker.drivers.cgroup import LimitsSeen
from leasebox_worker.drivers.lockdown import locked_down
from leasebox_worker.drivers.seccomp import SeccompProfile, program
from leasebox_worker.drivers.spawn import Launch, Spawned, Spawner
from leasebox_worker.drivers.state_folder import Record, StateFolder
from leasebox_worker.drivers.uid_pool import UidClaim, UidPool
from leasebox_worker.drivers.verify import Asked, verify_driver

ROOT_FOLDER = Path("/var/lib/leasebox/process")
"""Where root's sandboxes keep their files: the uids of the pool must reach them, and a state folder is often closed."""

_READABLE = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_NEVER_HELD = frozenset(
    {
        "agent-uid",
        "capability-bound",
        "read-only-root",
        "masked-paths",
        "disk-limit",
        "inode-limit",
        "workspace-mode",
        "memory-limit",
        "swap-limit",
        "cpu-limit",
        "namespaces",
        "mount-flags",
    }
)


@dataclass
class _Live:
    spawned: Spawned | None = None
    claim: UidClaim | None = None


class ProcessDriver:
    """Processes of this worker; see `base.Driver` for every method."""

    name = "process"
    outlives_worker = False
    isolation = Isolation.WEAK

    def __init__(self, settings: DriverSettings, root_folder: Path = ROOT_FOLDER) -> None:
        """Sweeps what a worker that was killed left behind in this state folder.

        Args:
            root_folder: Where root's sandboxes live; reachable by every uid.
        """
        self._labels = settings.labels
        self._folder = StateFolder(settings.state_dir / "process")
        self._files = root_folder if os.geteuid() == 0 else settings.state_dir / "process-files"
        self._uids = UidPool()
        self._spawner = Spawner()
        self._live: dict[str, _Live] = {}
        self._lock = threading.Lock()
        for record in self._folder.records():
            if not record.owner.is_alive():
                self.kill(Handle(self.name, record.name, record.name))

    def check(self) -> list[Check]:
        """See `base.Driver`."""
        version, rooted = landlock.abi(), os.geteuid() == 0
        apart = rooted or version >= landlock.ABI_SCOPES
        hint = None if apart else "run the worker as root, or on Linux 6.12 or newer"
        return [
            Check("landlock", ok=version > 0, required=True, detail=f"Landlock ABI {version}"),
            Check(
                "own-uid", ok=apart, required=True, detail="signals stay inside" if apart else "they do not", hint=hint
            ),
            Check("isolation", ok=False, required=False, detail="weak: for code that you trust"),
        ]

    def verify(self, agent_dir: Path) -> list[Check]:
        """See `base.Driver`; what this driver never promises only warns."""
        # RLIMIT_NPROC counts a uid's processes over the whole host: an ordinary user's desktop is among them.
        lacks = _NEVER_HELD if os.geteuid() == 0 else _NEVER_HELD | {"pids-limit"}
        found = verify_driver(self, agent_dir, "", self._limits_seen, Asked(has_sockets=False))
        return [
            Check(check.name, check.ok, check.required and check.name not in lacks, check.detail, check.hint)
            for check in found
        ]

    def ping(self) -> None:
        """See `base.Driver`: there is no engine."""

    def create(self, request: SandboxRequest) -> tuple[Handle, Channel]:
        """See `base.Driver`; the handle tells where the workspace is, since there is no /workspace."""
        try:
            self._folder.add(request.name, {**request.labels, **self._labels})
        except OSError as exc:
            raise StartFailed(f"no state folder for {request.name}: {exc}") from exc
        live = _Live()
        with self._lock:
            self._live[request.name] = live
        try:
            spawned = self._start(request, live)
        except (OSError, LeaseboxError) as exc:
            self.kill(Handle(self.name, request.name, request.name))
            if isinstance(exc, LeaseboxError):
                raise
            raise StartFailed(f"sandbox {request.name}: {exc}") from exc
        workspace = str(self._workspace(request.name))
        return Handle(self.name, request.name, request.name, spawned.process.pid, workspace), spawned.channel

    def attach(self, handle: Handle) -> Channel:
        """See `base.Driver`: its pipes died with the worker that made it."""
        raise SandboxDied(f"sandbox {handle.name} ended with its worker")

    def kill(self, handle: Handle) -> None:
        """See `base.Driver`."""
        with self._lock:
            live = self._live.pop(handle.id, None)
        record = self._folder.find(handle.id)
        if live and live.spawned:
            process_tree.end_tree(live.spawned.process.pid)
            live.spawned.process.wait()
            live.spawned.channel.close()
        elif record and record.process and record.process.is_alive():
            process_tree.end_tree(record.process.pid)
        if record and record.uid is not None:
            process_tree.end_uid(record.uid)
        if live or record:
            shutil.rmtree(self._files / handle.id, ignore_errors=True)
            self._folder.remove(handle.id)
        if live and live.claim:
            live.claim.release()

    def list(self) -> list[Found]:
        """See `base.Driver`."""
        return [self._found(record) for record in self._folder.records() if record.has(self._labels)]

    def stats(self, handle: Handle) -> Stats:
        """See `base.Driver`; from /proc, so peaks are not known."""
        with self._lock:
            live = self._live.get(handle.id)
        if live is None or live.spawned is None:
            raise SandboxDied(f"sandbox {handle.name} is gone")
        return process_tree.tree_stats(live.spawned.process.pid)

    def quick_stats(self, handle: Handle) -> Stats | None:
        """See `base.Driver`: nobody counts for it."""

    def close(self) -> None:
        """See `base.Driver`: every sandbox of this driver ends."""
        with self._lock:
            names = tuple(self._live)
        for name in names:
            self.kill(Handle(self.name, name, name))
        self._spawner.close()

    def _start(self, request: SandboxRequest, live: _Live) -> Spawned:
        live.claim = self._uids.claim() if os.geteuid() == 0 else None
        uid = live.claim.uid if live.claim else os.getuid()
        self._folder.set_uid(request.name, live.claim.uid if live.claim else None)
        agent_dir, workspace = self._make_files(request, uid)
        python = shutil.which("python3", path=hardening.ENVIRONMENT["PATH"])
        if python is None:
            raise StartFailed("no python3 on this host", hint="the agent needs one in /usr/local/bin or /usr/bin")
        arguments = hardening.agent_arguments(request, job_uid=uid, at_eof="exit")
        readable = [Path(path) for path in _READABLE] + [agent_dir]
        # The agent writes /proc/PID/oom_score_adj of its jobs; what else is there belongs to other uids.
        ruleset = landlock.ruleset(readable, [Path("/proc")], [workspace, *(Path(path) for path in _DEVICES)])
        limits = hardening.ulimits(request.limits) | {"data": request.limits.memory_bytes}
        if live.claim:
            limits["nproc"] = request.limits.pids
        launch = Launch(
            command=[python, "-I", "-S", str(agent_dir / "boot.py"), *arguments, "--workspace", str(workspace)],
            ulimits=limits,
            become_uid=live.claim.uid if live.claim else None,
            environment=hardening.ENVIRONMENT,
            folder=workspace,
            last=locked_down(ruleset, program(SeccompProfile(request.seccomp), has_sockets=False)),
        )
        try:
            live.spawned = self._spawner.start(launch)
        finally:
            os.close(ruleset)
        self._folder.started(request.name, live.spawned.process.pid)
        return live.spawned

    def _make_files(self, request: SandboxRequest, uid: int) -> tuple[Path, Path]:
        """A copy of the agent that every uid can reach, and an empty workspace of the job's uid."""
        self._files.mkdir(parents=True, exist_ok=True)
        folder = self._files / request.name
        folder.mkdir(mode=0o711)
        agent_dir, workspace = folder / "agent", self._workspace(request.name)
        shutil.copytree(request.agent_dir, agent_dir)
        workspace.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(workspace, uid, uid)
        return agent_dir, workspace

    def _workspace(self, name: str) -> Path:
        return self._files / name / "workspace"

    def _found(self, record: Record) -> Found:
        pid = record.live_pid
        handle = Handle(self.name, record.name, record.name, pid, str(self._workspace(record.name)))
        return Found(handle, record.labels, record.created_at, pid is not None)

    def _limits_seen(self, handle: Handle) -> LimitsSeen:
        del handle
        return LimitsSeen(None, None, None, None)
