"""Which words make a sandbox of `bwrap`? Pure: a request and a mode in, an argument list out.

| mode | who runs bwrap | uid of agent; of jobs | lacks |
|------|----------------|-----------------------|-------|
| ROOTLESS (R1) | a user; root drops to a pool uid | 10001 of a user namespace; the same | inodes, cgroups, agent uid |
| ROOT (R2) | root | 0 with SETUID, SETGID, KILL; a pool uid | nothing required |

Never root with a user namespace: the guest's kernel uid is then 0, and it could write /proc/sys (ISOLATION.md 4). Mount
targets stand only on the fresh root; nothing is named below a folder that a guest may have written (CVE-2026-87766).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from leasebox_worker.drivers import hardening
from leasebox_worker.drivers.base import SandboxRequest

_ETC_FOLDERS = tuple(
    Path("/etc", name) for name in ("alternatives", "fonts", "ssl/certs", "java-11-openjdk", "java-17-openjdk")
)
_READONLY = tuple(Path(path) for path in hardening.READONLY_PATHS)
_MASKED = tuple(Path(path) for path in hardening.MASKED_PATHS if not path.startswith("/sys/"))
"""Made once, looked for at each start: a module of the kernel may add one of them at any time."""
_USR_LINKS = ("bin", "lib", "lib64", "sbin")


ROOTLESS_LACKS = frozenset(
    {"cgroup", "agent-uid", "inode-limit", "memory-limit", "swap-limit", "cpu-limit", "no-groups"}
)
"""Names of the required checks that R1 cannot pass: what the embedded stack of a single user accepts.

`no-groups`: a user namespace of a user who is not root may not drop supplementary groups (user_namespaces(7)).
"""


class Mode(StrEnum):
    """R1 and R2 of ISOLATION.md section 4."""

    ROOTLESS = "R1"
    ROOT = "R2"


@dataclass(frozen=True)
class DataFile:
    """A file of the sandbox whose content comes from an open descriptor."""

    descriptor: int
    target: str


@dataclass(frozen=True)
class Plan:
    """All that the words depend on besides the request.

    Attributes:
        mounts: Host folders of the pre-mounted tmpfs by target (R2); empty in R1.
        job_uid: Uid of the jobs inside.
    """

    program: str
    mode: Mode
    job_uid: int
    mounts: dict[str, Path]
    files: Sequence[DataFile]
    seccomp_descriptor: int
    info_descriptor: int


def command(request: SandboxRequest, plan: Plan) -> list[str]:
    """The whole command line, from `bwrap` to the agent's arguments."""
    agent = hardening.agent_arguments(request, job_uid=plan.job_uid, at_eof="exit")
    return [
        plan.program,
        *_namespaces(plan),
        *_system(Path(request.image) if request.image.startswith("/") else Path("/")),
        *_etc(plan),
        "--ro-bind",
        str(request.agent_dir),
        hardening.AGENT_MOUNT,
        *_egress(request),
        *("--proc", "/proc", "--dev", "/dev"),
        *_writable(request, plan),
        *_hidden(),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", hardening.WORKSPACE),
        *(word for name, value in hardening.ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *("--seccomp", str(plan.seccomp_descriptor), "--info-fd", str(plan.info_descriptor), "--"),
        *("/usr/bin/python3", "-I", "-S", f"{hardening.AGENT_MOUNT}/boot.py", *agent),
    ]


def passwd(uid: int) -> str:
    """/etc/passwd of a sandbox: so that getpwuid of a job answers."""
    return f"root:x:0:0:root:/:/bin/sh\njob:x:{uid}:{uid}:job:{hardening.WORKSPACE}:/bin/sh\n"


def group(gid: int) -> str:
    """/etc/group of a sandbox."""
    return f"root:x:0:\njob:x:{gid}:\n"


def _namespaces(plan: Plan) -> list[str]:
    common = ["ipc", "pid", "net", "uts", "cgroup"]
    words = ["--as-pid-1", *(f"--unshare-{name}" for name in common)]
    if plan.mode is Mode.ROOTLESS:
        uid = str(plan.job_uid)
        words += ["--unshare-user", "--disable-userns", "--assert-userns-disabled", "--uid", uid, "--gid", uid]
    words += ["--hostname", hardening.HOSTNAME, "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--cap-drop", "ALL"]
    if plan.mode is Mode.ROOT:
        words += [word for name in hardening.AGENT_CAPABILITIES for word in ("--cap-add", f"CAP_{name}")]
    return words


def _system(root: Path) -> list[str]:
    """/usr read-only, and the old top-level names the way the host has them."""
    words = ["--ro-bind", str(root / "usr"), "/usr"]
    for name in _USR_LINKS:
        path = root / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()).lstrip("/"), f"/{name}"]
        elif path.is_dir():
            words += ["--ro-bind", str(path), f"/{name}"]
    return words


def _etc(plan: Plan) -> list[str]:
    """A parent that bwrap makes by itself has mode 0700, so each is made by name."""
    words = ["--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/etc/ssl"]
    for folder in _ETC_FOLDERS:
        if folder.is_dir():
            words += ["--ro-bind", str(folder), str(folder)]
    for file in plan.files:
        words += ["--perms", "0644", "--ro-bind-data", str(file.descriptor), file.target]
    return words


def _egress(request: SandboxRequest) -> list[str]:
    if request.egress_dir is None:
        return []
    return ["--perms", "0755", "--dir", "/run", "--ro-bind", str(request.egress_dir), hardening.EGRESS_MOUNT]


def _writable(request: SandboxRequest, plan: Plan) -> list[str]:
    words: list[str] = []
    for tmpfs in hardening.writable(request.limits):
        if tmpfs.target in plan.mounts:
            words += ["--bind", str(plan.mounts[tmpfs.target]), tmpfs.target]
        else:
            words += ["--perms", f"{tmpfs.mode:04o}", "--size", str(tmpfs.size_bytes), "--tmpfs", tmpfs.target]
    return words


def _hidden() -> list[str]:
    """Masks and read-only covers; without /sys only those of /proc and /dev exist."""
    words: list[str] = []
    for path in _READONLY:
        if path.exists():
            words += ["--ro-bind", str(path), str(path)]
    for path in _MASKED:
        target = str(path)
        if path.is_dir():
            words += ["--tmpfs", target, "--remount-ro", target]
        elif target == "/dev/pts/ptmx" or path.exists():
            words += ["--ro-bind", "/dev/null", target]
    return words
