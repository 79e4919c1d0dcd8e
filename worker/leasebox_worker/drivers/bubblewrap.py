"""Sandboxes as bubblewrap namespaces: no daemon, 30 ms to start, gone with their worker.

R2 as root has every required protection; R1 as a user has namespaces, seccomp and sizes, but neither cgroups nor an
agent of its own uid, so it says `partial`.
"""

import json
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from leasebox.contract.errors import LeaseboxError, SandboxDied, StartFailed
from leasebox_worker.drivers import bubblewrap_arguments as arguments
from leasebox_worker.drivers import cgroup, hardening, process_tree, tmpfs, workspace
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
from leasebox_worker.drivers.bubblewrap_arguments import DataFile, Mode, Plan
from leasebox_worker.drivers.bubblewrap_checks import find_program, host_checks
from leasebox_worker.drivers.channels import PipeChannel
from leasebox_worker.drivers.seccomp import SeccompProfile, program
from leasebox_worker.drivers.spawn import Launch, Spawner
from leasebox_worker.drivers.state_folder import Process, Record, StateFolder, process
from leasebox_worker.drivers.uid_pool import UidClaim, UidPool
from leasebox_worker.drivers.verify import Asked, verify_driver


@dataclass
class _Live:
    """What this worker holds of one sandbox."""

    claim: UidClaim | None = None
    bwrap: subprocess.Popen[bytes] | None = None
    pid: int | None = None
    channel: PipeChannel | None = None
    groups: list[Path] = field(default_factory=list)
    seen_in: cgroup.Groups | None = None


class BubblewrapDriver:
    """Namespaces of one host; see `base.Driver` for every method."""

    name = "bubblewrap"
    outlives_worker = False

    def __init__(self, settings: DriverSettings, mode: Mode | None = None) -> None:
        """Sweeps what a worker that was killed left behind in this state folder.

        Args:
            mode: None = R2 as root, else R1.
        """
        self._mode = mode or (Mode.ROOT if os.geteuid() == 0 else Mode.ROOTLESS)
        self._labels = settings.labels
        self._folder = StateFolder(settings.state_dir / "bubblewrap")
        self._uids = UidPool()
        self._spawner = Spawner()
        self._live: dict[str, _Live] = {}
        self._lock = threading.Lock()
        self._limited = self._mode is Mode.ROOT and cgroup.can_limit()
        self._has_own_table = False
        self._sweep()

    @property
    def isolation(self) -> Isolation:
        """FULL only for R2 with cgroups."""
        return Isolation.FULL if self._limited else Isolation.PARTIAL

    def check(self) -> list[Check]:
        """See `base.Driver`."""
        return host_checks(self._mode, limited=self._limited)

    def verify(self, agent_dir: Path) -> list[Check]:
        """See `base.Driver`."""
        return verify_driver(self, agent_dir, "", self._limits_seen, Asked())

    def ping(self) -> None:
        """See `base.Driver`: there is no engine."""

    def create(self, request: SandboxRequest) -> tuple[Handle, Channel]:
        """See `base.Driver`. A mount that bwrap refuses ends the channel: its reason is the `crash_text`."""
        try:
            folder = self._folder.add(request.name, {**request.labels, **self._labels})
        except OSError as exc:
            raise StartFailed(f"no state folder for {request.name}: {exc}") from exc
        live = _Live()
        with self._lock:
            self._live[request.name] = live
        handle = Handle(self.name, request.name, request.name)
        try:
            self._start(request, folder, live)
        except (OSError, LeaseboxError) as exc:
            self.kill(handle)
            if isinstance(exc, LeaseboxError):
                raise
            raise StartFailed(f"sandbox {request.name}: {exc}") from exc
        if live.channel is None:
            raise StartFailed(f"sandbox {request.name} has no channel")
        return replace(handle, pid=live.pid), live.channel

    def attach(self, handle: Handle) -> Channel:
        """See `base.Driver`: its pipes died with the worker that made it."""
        raise SandboxDied(f"sandbox {handle.name} ended with its worker")

    def kill(self, handle: Handle) -> None:
        """See `base.Driver`."""
        with self._lock:
            live = self._live.pop(handle.id, None)
        record = self._folder.find(handle.id)
        if live and live.bwrap:
            _kill_tree(live.bwrap, live.pid)
        elif record:
            _kill_record(record)
        if live and live.channel:
            live.channel.close()
        self._clean(handle.id, record is not None or live is not None)
        if live and live.claim:
            live.claim.release()

    def list(self) -> list[Found]:
        """See `base.Driver`."""
        return [self._found(record) for record in self._folder.records() if record.has(self._labels)]

    def stats(self, handle: Handle) -> Stats:
        """See `base.Driver`; R1 has /proc alone, so no peaks."""
        pid, seen = self._counted(handle)
        return seen if pid is None else replace(seen, disk_bytes=workspace.used_bytes(pid))

    def quick_stats(self, handle: Handle) -> Stats | None:
        """See `base.Driver`; None in R1, where nothing counts what a job could not lie about."""
        return self._counted(handle)[1] if self._limited else None

    def _counted(self, handle: Handle) -> tuple[int | None, Stats]:
        """The sandbox's first process while it lives, and what it used."""
        with self._lock:
            live = self._live.get(handle.id)
        is_alive = live is not None and live.bwrap is not None and live.bwrap.poll() is None
        if live is not None and live.groups:  # they outlive its processes, and tell how these died
            live.seen_in = live.seen_in or cgroup.by_controller(handle.name)
            return live.pid if is_alive else None, cgroup.stats(live.seen_in)
        if live is None or live.pid is None or not is_alive:
            raise SandboxDied(f"sandbox {handle.name} is gone")
        return live.pid, process_tree.tree_stats(live.pid)

    def close(self) -> None:
        """See `base.Driver`: every sandbox of this driver ends."""
        with self._lock:
            names = tuple(self._live)
        for name in names:
            self.kill(Handle(self.name, name, name))
        self._spawner.close()

    def _start(self, request: SandboxRequest, folder: Path, live: _Live) -> None:
        live.claim = self._uids.claim() if os.geteuid() == 0 else None
        job_uid = live.claim.uid if live.claim and self._mode is Mode.ROOT else hardening.GUEST_UID
        if self._limited:
            cpus = min(request.limits.cpus, float(os.cpu_count() or 1))
            live.groups = cgroup.create(request.name, replace(request.limits, cpus=cpus))
        with self._mounts(request, folder, job_uid) as mounts:
            pid = self._spawn(request, live, job_uid, mounts)
        self._folder.started(request.name, pid)
        if live.claim is None:
            # Set inside the new user namespace it counts only this sandbox; set before, all of the user's processes.
            resource.prlimit(pid, resource.RLIMIT_NPROC, (request.limits.pids, request.limits.pids))

    def _spawn(self, request: SandboxRequest, live: _Live, job_uid: int, mounts: dict[str, Path]) -> int:
        """Start bwrap; the pid of its child, which has a copy of the mount table."""
        passed = [_memory_file("passwd", arguments.passwd(job_uid).encode())]
        passed.append(_memory_file("group", arguments.group(job_uid).encode()))
        passed.append(_memory_file("seccomp", program(SeccompProfile(request.seccomp))))
        info_read, info_write = os.pipe2(os.O_CLOEXEC)
        try:
            plan = Plan(
                program=str(find_program()),
                mode=self._mode,
                job_uid=job_uid,
                mounts=mounts,
                files=(DataFile(passed[0], "/etc/passwd"), DataFile(passed[1], "/etc/group")),
                seccomp_descriptor=passed[2],
                info_descriptor=info_write,
            )
            spawned = self._spawner.start(self._launch(request, plan, live, (*passed, info_write)))
        except BaseException:
            os.close(info_read)
            raise
        finally:
            for number in (*passed, info_write):
                os.close(number)
        live.bwrap, live.channel = spawned.process, spawned.channel
        live.pid = _child_pid(info_read)
        if live.pid is None:
            live.bwrap.wait()
            with suppress(ConnectionError):
                live.channel.receive(1.0)
            raise StartFailed(f"bwrap did not start: {live.channel.crash_text.strip()}")
        return live.pid

    def _launch(self, request: SandboxRequest, plan: Plan, live: _Live, descriptors: tuple[int, ...]) -> Launch:
        ulimits = hardening.ulimits(request.limits)
        if live.claim and not live.groups:  # it refuses silently, and forks in flight count: a cgroup must come first
            ulimits["nproc"] = request.limits.pids
        if not live.groups:
            ulimits["data"] = request.limits.memory_bytes
        drops = self._mode is Mode.ROOTLESS and live.claim is not None
        return Launch(
            command=arguments.command(request, plan),
            pass_fds=descriptors,
            groups=live.groups,
            ulimits=ulimits,
            become_uid=live.claim.uid if drops and live.claim else None,
            reads_options_by="--args",  # without any it has an empty file system, and so no program to run
        )

    @contextmanager
    def _mounts(self, request: SandboxRequest, folder: Path, job_uid: int) -> Iterator[dict[str, Path]]:
        """Mount what is writable, until the sandbox has it: then it is in no table but the sandbox's own.

        In the host's, the three of each sandbox that lives made every start of another one longer.
        """
        if self._mode is not Mode.ROOT:
            yield {}
            return
        mounts: dict[str, Path] = {}

        def _mount() -> None:
            if not self._has_own_table:
                tmpfs.leave_the_hosts_table()
                self._has_own_table = True
            for place in hardening.writable(request.limits):
                target = folder / _mount_name(place.target)
                mode = hardening.WORKSPACE_MODE_ENTERED if place.of_job else place.mode
                tmpfs.mount(replace(place, mode=mode), target, job_uid)
                mounts[place.target] = target

        try:
            self._spawner.call(_mount)
            yield mounts
        finally:
            self._spawner.call(lambda: tmpfs.unmount(mounts.values()))

    def _clean(self, name: str, known: bool) -> None:
        """Cgroups and folder, and mounts that an older version left, all by name: the same after a crash as a kill."""
        if not known:
            return
        folder = self._folder.path(name)
        if folder.is_dir():
            tmpfs.unmount(entry for entry in folder.iterdir() if entry.is_dir())
        cgroup.remove(cgroup.groups_of(name))
        self._folder.remove(name)

    def _sweep(self) -> None:
        for record in self._folder.records():
            if not record.owner.is_alive():
                with suppress(OSError):  # what cannot go now keeps its folder, by which reconcile finds it again
                    self.kill(Handle(self.name, record.name, record.name))

    def _found(self, record: Record) -> Found:
        pid = record.live_pid
        handle = Handle(self.name, record.name, record.name, pid)
        return Found(handle, record.labels, record.created_at, pid is not None)

    def _limits_seen(self, handle: Handle) -> cgroup.LimitsSeen:
        if handle.pid is None:
            raise SandboxDied(f"sandbox {handle.name} has no process")
        if self._limited:
            return cgroup.limits_of(cgroup.groups_of_process(handle.pid))
        return cgroup.LimitsSeen(None, None, None, None)


def _mount_name(target: str) -> str:
    return target.strip("/").replace("/", "-")


def _memory_file(name: str, content: bytes) -> int:
    """An open descriptor at position 0 whose content is `content`."""
    number = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(number, content)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def _child_pid(info: int) -> int | None:
    """The pid that bwrap reports on its info descriptor; None when it ended before it had one."""
    with os.fdopen(info, "rb") as stream:
        text = stream.read()
    return int(json.loads(text)["child-pid"]) if text.strip() else None


def _kill_tree(bwrap: subprocess.Popen[bytes], pid: int | None) -> None:
    """PID 1 of the namespace first: the kernel takes everything in it along, then bwrap ends by itself."""
    for number in (pid, bwrap.pid):
        if number is not None and bwrap.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    bwrap.wait()


def _kill_record(record: Record) -> None:
    """A sandbox of a worker that is dead: what of it the kernel has not ended yet."""
    if record.process:
        _kill_left(record.process)
    for group in cgroup.groups_of(record.name):
        for pid in cgroup.members(group):
            _kill_left(process(pid))


def _kill_left(one: Process) -> None:
    if one.is_alive():
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
