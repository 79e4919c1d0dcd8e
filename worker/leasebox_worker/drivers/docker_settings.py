"""What exactly is asked of the engine for one sandbox? A request in, the body of `POST /containers/create` out.

Source: ISOLATION.md 1.1; numbers and lists come from `hardening.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from docker.types import LogConfig, Ulimit

from leasebox_worker.drivers import hardening
from leasebox_worker.drivers.base import SandboxRequest
from leasebox_worker.drivers.seccomp import SeccompProfile, engine_json

APPARMOR_PROFILE = "leasebox-sandbox"


@dataclass(frozen=True)
class EngineFacts:
    """What the engine's `info` says that changes a sandbox's settings."""

    cpus: int
    has_apparmor: bool


def host_options(request: SandboxRequest, facts: EngineFacts, runtime: str | None) -> dict[str, object]:
    """Keyword arguments of the SDK's `create_host_config`."""
    limits = request.limits
    security = ["no-new-privileges:true", "seccomp=" + engine_json(SeccompProfile(request.seccomp))]
    if facts.has_apparmor:
        security.append(f"apparmor={APPARMOR_PROFILE}")
    return {
        "cap_drop": ["ALL"],
        "cap_add": list(hardening.AGENT_CAPABILITIES),
        "security_opt": security,
        "privileged": False,
        "read_only": True,
        "tmpfs": {tmpfs.target: _tmpfs_options(tmpfs) for tmpfs in hardening.writable(limits)},
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "oom_score_adj": hardening.OOM_SCORE,
        # More than the host has is refused by the engine; CONTRACT.md: cpus never exceed the node's.
        "nano_cpus": int(min(limits.cpus, facts.cpus) * 1e9),
        "cpu_shares": hardening.CPU_SHARES,
        "pids_limit": limits.pids,
        "ulimits": [Ulimit(name=n, soft=v, hard=v) for n, v in hardening.ulimits(limits).items()],
        "network_mode": "none",
        "ipc_mode": "private",
        "cgroupns": "private",
        "sysctls": hardening.sysctls(limits),
        "init": False,
        "log_config": LogConfig(type="none"),
        "binds": {str(request.agent_dir): {"bind": hardening.AGENT_MOUNT, "mode": "ro"}},
        "runtime": runtime,
    }


def container_options(request: SandboxRequest, labels: Mapping[str, str]) -> dict[str, object]:
    """Keyword arguments of the SDK's `create_container_config`; `detach` keeps `StdinOnce` false."""
    agent = hardening.agent_arguments(request, job_uid=hardening.GUEST_UID, at_eof="detach")
    return {
        "image": request.image,
        "command": ["-I", "-S", f"{hardening.AGENT_MOUNT}/boot.py", *agent],
        "entrypoint": ["python3"],
        "user": "0:0",
        "hostname": hardening.HOSTNAME,
        "stdin_open": True,
        "tty": False,
        "detach": True,
        "environment": dict(hardening.ENVIRONMENT),
        "working_dir": hardening.WORKSPACE,
        "labels": dict(labels),
    }


def mask_paths(host_config: dict[str, object]) -> dict[str, object]:
    """Set the fields that the SDK does not know; they replace the engine's lists, so ours are complete."""
    host_config["MaskedPaths"] = list(hardening.MASKED_PATHS)
    host_config["ReadonlyPaths"] = list(hardening.READONLY_PATHS)
    return host_config


def _tmpfs_options(tmpfs: hardening.Tmpfs) -> str:
    execute = "exec" if tmpfs.executable else "noexec"
    return f"rw,{execute},nosuid,nodev,{tmpfs.options(hardening.GUEST_UID)}"
