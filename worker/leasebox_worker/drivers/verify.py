"""Is every protection that was asked for in effect inside? A probe sandbox with the real settings tells.

One sandbox, one job: the real agent starts the probe program as it would start any job, so the agent's own share (uid,
capabilities) is looked at as well. `compare` is pure: the document that came out, what was asked, named checks.

Source: ISOLATION.md 1.7; the required protections are those of CONTRACT.md section 8.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from leasebox.contract.errors import StartFailed
from leasebox_worker.drivers import hardening
from leasebox_worker.drivers import probe as probe_program
from leasebox_worker.drivers.base import Channel, ChannelClosed, Check, Handle, Limits, SandboxRequest
from leasebox_worker.drivers.cgroup import LimitsSeen
from leasebox_worker.drivers.one_job import Ended, Guest

PROBE_LIMITS = Limits(
    cpus=1.0, memory_bytes=256 << 20, pids=64, open_files=256, disk_bytes=64 << 20, tmp_bytes=32 << 20
)
_START_WITHIN_S = 20.0
_ANSWER_WITHIN_S = 20.0

_EPERM, _ENOSYS = 1, 38
_ALLOWED_CALLS = ("socket_inet", "socket_netlink_route")
_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")

Document = Mapping[str, object]


class Maker(Protocol):
    """The part of a driver that a probe needs."""

    name: str

    def create(self, request: SandboxRequest) -> tuple[Handle, Channel]:
        """See `base.Driver`."""

    def kill(self, handle: Handle) -> None:
        """See `base.Driver`."""


@dataclass(frozen=True)
class Asked:
    """What a driver asks for that not every driver can.

    Attributes:
        has_sockets: Its seccomp profile lets sockets be made.
        sysctls: Bounds of the IPC namespace, which bubblewrap cannot set.
        confinement: The AppArmor profile; None where the host has none.
    """

    has_sockets: bool = True
    sysctls: Mapping[str, str] = field(default_factory=dict)
    confinement: str | None = None


@dataclass(frozen=True)
class Seen:
    """One probe: the job's document, and what the host's kernel says about the same sandbox."""

    inside: Document
    outside: LimitsSeen


def verify_driver(
    driver: Maker,
    agent_dir: Path,
    image: str,
    limits_of: Callable[[Handle], LimitsSeen],
    asked: Asked,
) -> list[Check]:
    """Probe and compare; see `base.Driver.verify`."""
    request = probe_request(driver.name, agent_dir, image)
    return compare(probe(driver, request, limits_of), request.limits, asked, probe_program.namespaces())


def probe_request(driver: str, agent_dir: Path, image: str) -> SandboxRequest:
    """A sandbox like any other, small, with the default seccomp profile."""
    return SandboxRequest(
        name=f"leasebox-probe-{driver}-{uuid.uuid4().hex[:12]}",
        profile="probe",
        image=image,
        limits=PROBE_LIMITS,
        seccomp="default",
        labels={"leasebox.profile": "probe"},
        agent_dir=agent_dir,
        preload=(),
        dead_man_s=30.0,
        agent_exit_after_s=60.0,
    )


def probe(driver: Maker, request: SandboxRequest, limits_of: Callable[[Handle], LimitsSeen]) -> Seen:
    """Run the probe program as a job of a new sandbox, which is gone afterwards.

    Raises:
        StartFailed: The agent or the probe did not answer in time; the detail has the agent's stderr.
    """
    handle, channel = driver.create(request)
    try:
        guest = Guest(channel, handle.workspace)
        guest.ready(_START_WITHIN_S)
        outside = limits_of(handle)
        return Seen(_document(guest.run(Path(probe_program.__file__).read_bytes(), _ANSWER_WITHIN_S)), outside)
    except ChannelClosed as exc:
        raise StartFailed(f"the probe sandbox died: {exc}; {channel.crash_text.strip()}") from exc
    finally:
        channel.close()
        driver.kill(handle)


def compare(seen: Seen, limits: Limits, asked: Asked, ours: Mapping[str, str]) -> list[Check]:
    """Named checks: does the inside equal what was asked?

    Args:
        ours: The namespaces of this process, of which a sandbox must have none.
    """
    inside = seen.inside
    return [
        *_identity(inside),
        *_calls(inside, has_sockets=asked.has_sockets),
        *_files(inside, limits),
        *_limits(seen, limits),
        _network(inside),
        *_apart(inside, asked, ours),
    ]


def _document(ended: Ended) -> Document:
    try:
        document = json.loads(ended.stdout)
    except ValueError as exc:
        said = ended.stderr[-1000:].decode(errors="replace")
        raise StartFailed(f"the probe printed no document, exit code {ended.code}: {ended.error or said}") from exc
    if not isinstance(document, dict):
        raise StartFailed("the probe printed something else than a document")
    return document


def _identity(inside: Document) -> Iterator[Check]:
    job, agent = _section(inside, "job"), _section(inside, "agent")
    uids, gids = str(job.get("Uid")).split(), str(job.get("Gid")).split()
    own = len(set(uids)) == 1 and uids[0] != "0" and len(set(gids)) == 1 and gids[0] != "0"
    yield _check("own-uid", own, f"uid {uids[0]}, gid {gids[0]}")
    further = set(str(job.get("Groups") or "").split()) - {gids[0]}
    yield _check("no-groups", not further, f"further groups {sorted(further)}")
    apart = str(agent.get("Uid")).split()[:1] != uids[:1]
    yield _check("agent-uid", apart, f"agent uid {str(agent.get('Uid')).split()[:1]}, job uid {uids[:1]}")
    held = {name: job.get(name) for name in _CAPABILITY_SETS if int(str(job.get(name)), 16)}
    beyond = (int(str(agent.get("CapPrm")), 16) | int(str(agent.get("CapEff")), 16)) & ~hardening.AGENT_CAPABILITY_MASK
    text = f"the job holds {held or 'none'}, the agent {beyond:#x} beyond SETUID, SETGID, KILL"
    yield _check("capabilities", not held and not beyond, text)
    bound = int(str(agent.get("CapBnd")), 16) | int(str(job.get("CapBnd")), 16)
    small = not bound & ~hardening.AGENT_CAPABILITY_MASK
    # bwrap as root leaves the bounding set as it was; with no-new-privileges nothing can be gained up to it.
    hint = None if small else "nothing to do: with no-new-privileges none of these can be gained"
    yield Check("capability-bound", ok=small, required=False, detail=f"bounding set {bound:#x}", hint=hint)
    nnp = job.get("NoNewPrivs") == agent.get("NoNewPrivs") == "1"
    yield _check("no-new-privileges", nnp, f"job {job.get('NoNewPrivs')}, agent {agent.get('NoNewPrivs')}")


def _calls(inside: Document, *, has_sockets: bool) -> Iterator[Check]:
    filtered = _section(inside, "job").get("Seccomp") == _section(inside, "agent").get("Seccomp") == "2"
    wrong = {
        name: seen for name, seen in _section(inside, "calls").items() if seen != _expected_errno(name, has_sockets)
    }
    killed = isinstance(entry := inside.get("old_entry"), int) and entry < 0
    text = f"filter {'on' if filtered else 'missing'}; unexpected answers {wrong}; int 0x80 answers {entry}"
    yield _check("seccomp", filtered and not wrong and killed, text)


def _expected_errno(name: str, has_sockets: bool) -> int:
    if name in _ALLOWED_CALLS and has_sockets:
        return 0
    return _ENOSYS if name == "clone3" else _EPERM


def _files(inside: Document, limits: Limits) -> Iterator[Check]:
    root = _section(inside, "mounts").get("/")
    writable = inside.get("writable")
    closed = isinstance(root, list) and "ro" in root and not writable
    yield _check(
        "read-only-root",
        closed,
        f"root {'ro' if isinstance(root, list) and 'ro' in root else 'rw'}, writable {writable}",
    )
    shown = inside.get("shown")
    yield _check("masked-paths", not shown, f"not hidden: {shown or 'none'}")
    mounts = _section(inside, "mounts")
    loose = [tmpfs.target for tmpfs in hardening.writable(limits) if not _is_plain(mounts.get(tmpfs.target))]
    yield _check("mount-flags", not loose, f"set-uid programs or devices count in: {', '.join(loose) or 'none'}")
    disks = _section(inside, "disks")
    sizes, inodes, modes = [], [], []
    for tmpfs in hardening.writable(limits):
        disk = disks.get(tmpfs.target)
        disk = disk if isinstance(disk, dict) else {}
        sizes.append((tmpfs.target, disk.get("bytes"), tmpfs.size_bytes))
        inodes.append((tmpfs.target, disk.get("inodes"), tmpfs.inodes))
        modes.append((tmpfs.target, _without_entering(disk.get("mode")), tmpfs.mode))
    yield _equal("disk-limit", sizes)
    yield _equal("inode-limit", inodes)
    yield _equal("workspace-mode", modes)


def _is_plain(options: object) -> bool:
    return isinstance(options, list) and {"nosuid", "nodev"} <= set(options)


def _without_entering(mode: object) -> object:
    """0711 counts as 0700: see `hardening.WORKSPACE_MODE_ENTERED`."""
    return hardening.WORKSPACE_MODE if mode == hardening.WORKSPACE_MODE_ENTERED else mode


def _limits(seen: Seen, limits: Limits) -> Iterator[Check]:
    inside, outside = _section(seen.inside, "cgroup"), seen.outside
    memory = outside.memory_bytes or inside.get("memory_bytes")
    swap = outside.swap_bytes
    if swap is None and isinstance(both := inside.get("memory_swap_bytes"), int) and isinstance(memory, int):
        swap = both - memory
    rlimits = _section(seen.inside, "rlimits")
    pids, cpus = outside.pids or inside.get("pids") or rlimits.get("nproc"), outside.cpus
    if cpus is None and isinstance(quota := inside.get("cpu_quota_us"), int):
        cpus = quota / hardening.CPU_PERIOD_US
    yield _equal("memory-limit", [("memory", memory, limits.memory_bytes)])
    yield _equal("swap-limit", [("swap", swap, 0)])
    yield _equal("pids-limit", [("pids", pids, limits.pids)])
    yield _equal("cpu-limit", [("cpus", cpus, limits.cpus)])
    asked = {k: v for k, v in hardening.ulimits(limits).items() if k in rlimits}
    yield _equal("ulimits", [(name, rlimits.get(name), value) for name, value in asked.items()])


def _network(inside: Document) -> Check:
    interfaces, reaches = inside.get("interfaces"), inside.get("network")
    return _check("network", reaches is False, f"interfaces {interfaces}, a route to the outside: {reaches}")


def _apart(inside: Document, asked: Asked, ours: Mapping[str, str]) -> Iterator[Check]:
    shared = [name for name, seen in _section(inside, "namespaces").items() if seen == ours.get(name)]
    yield _check("namespaces", not shared, f"shared with this worker: {', '.join(shared) or 'none'}")
    sysctls = _section(inside, "sysctls")
    yield _equal("ipc-limits", [(name, sysctls.get(name), value) for name, value in asked.sysctls.items()])
    if asked.confinement:
        yield _equal("confinement", [("AppArmor", inside.get("confinement"), f"{asked.confinement} (enforce)")])
    scores = inside.get("oom_scores")
    first = isinstance(scores, list) and None not in scores and scores[0] < scores[1]
    yield Check("oom-score", ok=first, required=False, detail=f"of agent and job: {scores}")


def _equal(name: str, rows: Sequence[tuple[str, object, object]]) -> Check:
    wrong = [f"{what} is {seen}, asked {asked}" for what, seen, asked in rows if seen != asked]
    return _check(name, not wrong, "; ".join(wrong) or "as asked")


def _check(name: str, ok: bool, detail: str) -> Check:
    return Check(name, ok=ok, required=True, detail=detail)


def _section(document: Document, name: str) -> Mapping[str, object]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}
