"""Can this engine hold sandboxes? Facts of `info` and `version` in, named checks out.

Source: ISOLATION.md 1.7 and 1.5 (what engines accept and then ignore).
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from leasebox_worker.drivers.base import Check

_LIMIT_FACTS = (
    ("memory-limit", "MemoryLimit", "memory limits"),
    ("swap-limit", "SwapLimit", "swap limits"),
    ("pids-limit", "PidsLimit", "pids limits"),
    ("cpu-limit", "CpuCfsQuota", "CPU quotas"),
)
_SLOW_STORAGE = frozenset({"vfs", "devicemapper", "aufs", "overlay"})
"""They copy whole layers, or engines of today no longer have them."""
_MIN_FREE_BYTES = 5 << 30
_ENGINE_FIXED = (23, 0, 11)
_RUNC_FIXED = ((1, 2, 8), (1, 3, 3), (1, 4, 0))


def engine_checks(info: Mapping[str, object], version: Mapping[str, object], runtime: str | None) -> list[Check]:
    """One check a protection; the rest, such as versions and AppArmor, only warns."""
    security = _strings(info.get("SecurityOptions"))
    remapped = any("name=userns" in option for option in security)
    return [
        Check("engine", ok=True, required=True, detail=f"engine {info.get('ServerVersion')}"),
        *(_limit(info, name, key, what) for name, key, what in _LIMIT_FACTS),
        _seccomp(security),
        _runtime(info, runtime),
        _confinement(security),
        _remap(remapped),
        _cgroups(info),
        _storage(info),
        _engine_version(str(info.get("ServerVersion", ""))),
        _runc_version(version, remapped=remapped),
    ]


def _limit(info: Mapping[str, object], name: str, key: str, what: str) -> Check:
    ok = info.get(key) is True
    hint = None if ok else "enable the cgroup controllers on the kernel's command line"
    return Check(name, ok=ok, required=True, detail=f"the engine {'has' if ok else 'lacks'} {what}", hint=hint)


def _seccomp(security: Sequence[str]) -> Check:
    ok = any("name=seccomp" in option for option in security)
    return Check("seccomp", ok=ok, required=True, detail="the engine " + ("filters calls" if ok else "lacks seccomp"))


def _runtime(info: Mapping[str, object], runtime: str | None) -> Check:
    known = info.get("Runtimes")
    ok = runtime is None or (isinstance(known, dict) and runtime in known)
    detail = f"runtime {runtime or 'of the engine'}" + ("" if ok else " is not registered")
    return Check("runtime", ok=ok, required=True, detail=detail, hint=None if ok else "register it in daemon.json")


def _confinement(security: Sequence[str]) -> Check:
    ok = any("name=apparmor" in option or "name=selinux" in option for option in security)
    detail = "AppArmor or SELinux confines containers" if ok else "neither AppArmor nor SELinux on this host"
    hint = None if ok else "on a host with AppArmor, load ops/apparmor/leasebox-sandbox; nothing to do on others"
    return Check("apparmor", ok=ok, required=False, detail=detail, hint=hint)


def _remap(remapped: bool) -> Check:
    detail = "uid 0 of a container is " + ("no uid of the host" if remapped else "uid 0 of the host")
    hint = None if remapped else 'set "userns-remap": "default" in /etc/docker/daemon.json; systemctl restart docker'
    return Check("userns-remap", ok=remapped, required=False, detail=detail, hint=hint)


def _cgroups(info: Mapping[str, object]) -> Check:
    version = info.get("CgroupVersion")
    hint = None if version != "1" else "boot with systemd.unified_cgroup_hierarchy=1; v1 cannot kill a group at once"
    return Check("cgroup-version", ok=version != "1", required=False, detail=f"cgroup v{version}", hint=hint)


def _storage(info: Mapping[str, object]) -> Check:
    driver = str(info.get("Driver", "unknown"))
    ok = driver not in _SLOW_STORAGE
    hint = None if ok else 'set "storage-driver": "overlay2" in /etc/docker/daemon.json, and build the images again'
    return Check("storage-driver", ok=ok, required=False, detail=f"storage driver {driver}", hint=hint)


def disk_check(info: Mapping[str, object]) -> list[Check]:
    """Whether the engine's disk has room for images; nothing where it is on another host."""
    root = Path(str(info.get("DockerRootDir") or ""))
    if not root.is_absolute() or not root.is_dir():
        return []
    free = shutil.disk_usage(root).free
    detail = f"{root}: {free >> 20} MiB free"
    hint = "docker system prune, or move data-root in /etc/docker/daemon.json to a larger disk"
    return [Check("engine-disk", ok=free >= _MIN_FREE_BYTES, required=False, detail=detail, hint=hint)]


def _engine_version(text: str) -> Check:
    ok = _numbers(text) >= _ENGINE_FIXED
    hint = None if ok else "23.0.11 or newer: apt-get install docker-ce (docs.docker.com/engine/install)"
    return Check("engine-version", ok=ok, required=False, detail=f"engine {text}", hint=hint)


def _runc_version(version: Mapping[str, object], *, remapped: bool) -> Check:
    text = _component(version, "runc")
    numbers = _numbers(text)
    fixed = any(numbers[:2] == good[:2] and numbers >= good for good in _RUNC_FIXED) or numbers > _RUNC_FIXED[-1]
    hint = None if fixed else "apt-get install runc of 1.2.8, 1.3.3 or newer, or a backport; or set userns-remap"
    return Check("runc-version", ok=fixed or remapped, required=False, detail=f"runc {text}", hint=hint)


def _component(version: Mapping[str, object], name: str) -> str:
    components = version.get("Components")
    for component in components if isinstance(components, list) else []:
        if component.get("Name") == name:
            return str(component.get("Version"))
    return "unknown"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
