"""What exactly is asked of the engine for one sandbox? A request in, the body of `POST /containers/create` out.

The body itself and not the SDK's keyword arguments: these lack two fields (`MaskedPaths`, `ReadonlyPaths`), and the hot
path need not translate. Source: ISOLATION.md 1.1; numbers and lists come from `hardening.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leasebox_worker.drivers import hardening
from leasebox_worker.drivers.base import SandboxRequest
from leasebox_worker.drivers.seccomp import SeccompProfile, engine_json

APPARMOR_PROFILE = "leasebox-sandbox"


@dataclass(frozen=True)
class EngineFacts:
    """What the engine's host has that changes a sandbox's settings; `runtime` None = the engine's default."""

    cpus: int
    has_apparmor_profile: bool
    runtime: str | None


def body(request: SandboxRequest, labels: Mapping[str, str], facts: EngineFacts) -> dict[str, object]:
    """The container to create; `OpenStdin` without `StdinOnce` lets it outlive its first client."""
    agent = hardening.agent_arguments(request, job_uid=hardening.GUEST_UID, at_eof="detach")
    return {
        "Image": request.image,
        "Entrypoint": ["python3"],
        "Cmd": ["-I", "-S", f"{hardening.AGENT_MOUNT}/boot.py", *agent],
        "User": "0:0",
        "Hostname": hardening.HOSTNAME,
        "Env": [f"{name}={value}" for name, value in hardening.ENVIRONMENT.items()],
        "WorkingDir": hardening.WORKSPACE,
        "Labels": dict(labels),
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "HostConfig": host_config(request, facts),
    }


def host_config(request: SandboxRequest, facts: EngineFacts) -> dict[str, object]:
    """The part that the engine applies from outside."""
    limits = request.limits
    security = ["no-new-privileges:true", "seccomp=" + engine_json(SeccompProfile(request.seccomp))]
    if facts.has_apparmor_profile:
        security.append(f"apparmor={APPARMOR_PROFILE}")
    config: dict[str, object] = {
        "CapDrop": ["ALL"],
        "CapAdd": list(hardening.AGENT_CAPABILITIES),
        "SecurityOpt": security,
        "Privileged": False,
        "ReadonlyRootfs": True,
        "Tmpfs": {tmpfs.target: _tmpfs_options(tmpfs) for tmpfs in hardening.writable(limits)},
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        "OomScoreAdj": hardening.OOM_SCORE,
        # More than the host has is refused by the engine; CONTRACT.md: cpus never exceed the node's.
        "NanoCpus": int(min(limits.cpus, facts.cpus) * 1e9),
        "CpuShares": hardening.cpu_shares(limits),
        "PidsLimit": limits.pids,
        "Ulimits": [{"Name": n, "Soft": v, "Hard": v} for n, v in hardening.ulimits(limits).items()],
        "NetworkMode": "none",
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Sysctls": hardening.sysctls(limits),
        "Init": False,
        "LogConfig": {"Type": "none", "Config": {}},
        "Binds": _binds(request),
        # These two replace the engine's own lists, so ours are complete.
        "MaskedPaths": list(hardening.MASKED_PATHS),
        "ReadonlyPaths": list(hardening.READONLY_PATHS),
    }
    if facts.runtime:
        config["Runtime"] = facts.runtime
    return config


def _binds(request: SandboxRequest) -> list[str]:
    binds = [f"{request.agent_dir}:{hardening.AGENT_MOUNT}:ro"]
    if request.egress_dir:
        binds.append(f"{request.egress_dir}:{hardening.EGRESS_MOUNT}:ro")
    return binds


def _tmpfs_options(tmpfs: hardening.Tmpfs) -> str:
    execute = "exec" if tmpfs.executable else "noexec"
    return f"rw,{execute},nosuid,nodev,{tmpfs.options(hardening.GUEST_UID)}"
