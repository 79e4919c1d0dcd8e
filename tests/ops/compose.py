"""How is compose.yaml started where there is no Compose? Its services as arguments of `docker run`.

Whatever this does not know fails: a field that was passed by would not be tested.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_OF_COMPOSE = {"profiles", "depends_on", "build", "networks", "volumes", "secrets"}
"""What no flag of its own says: with whom a service starts, and files, whose places differ here."""


def load(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file, with its variables filled in, and those that it hands on."""
    text = _VARIABLE.sub(lambda found: environment.get(found[1]) or found[2] or "", FILE.read_text())
    loaded: dict[str, Any] = yaml.safe_load(text)
    for service in loaded["services"].values():
        given = service.get("environment", {})
        given.update({name: environment.get(name) for name, value in given.items() if value is None})
    return loaded


def run_arguments(project: str, name: str, config: Mapping[str, Any], root: Path, secrets: Path) -> list[str]:
    """What comes behind `docker run` for a service; its first network's name is `<project>-<network>`.

    Args:
        root: The folder in which compose.yaml would stand.
    """
    service = config["services"][name]
    flags = ["--detach", "--name", f"{project}-{name}", "--network", f"{project}-{service['networks'][0]}"]
    flags += ["--network-alias", name]
    for field, value in service.items():
        if field not in _OF_COMPOSE | {"image", "command"}:
            assert field in _FLAGS, f"compose.yaml has {field}, which no test starts"
            flags += _FLAGS[field](value)
    flags += [f"--volume={_source(project, root, item)}" for item in service.get("volumes", [])]
    flags += [f"--volume={secrets / item}:/run/secrets/{item}:ro" for item in service.get("secrets", [])]
    return [*flags, service["image"], *map(str, service.get("command", []))]


def _source(project: str, root: Path, volume: str) -> str:
    """A path of the repository as it is there; a named volume under the project's name."""
    source, _, target = volume.partition(":")
    if source.startswith("./"):
        return f"{root / source}:{target}"
    return volume if source.startswith("/") else f"{project}-{volume}"


def _health(check: Mapping[str, Any]) -> list[str]:
    assert check["test"][0] == "CMD", "a shell is not in every image"
    # On the command line it is a line for the shell; our images and Redis' have one.
    flags = [f"--health-cmd={shlex.join(check['test'][1:])}"]
    times = ("interval", "timeout", "retries", "start_period")
    return flags + [f"--health-{name.replace('_', '-')}={check[name]}" for name in times if name in check]


def _one(flag: str) -> Callable[[Any], list[str]]:
    return lambda value: [f"--{flag}={str(value).lower() if isinstance(value, bool) else value}"]


def _each(flag: str) -> Callable[[Any], list[str]]:
    return lambda values: [f"--{flag}={value}" for value in values]


def _pairs(flag: str) -> Callable[[Any], list[str]]:
    # One without a value is handed on where .env has it; here it has none.
    return lambda values: [f"--{flag}={name}={value}" for name, value in values.items() if value is not None]


_FLAGS: dict[str, Callable[[Any], list[str]]] = {
    "read_only": _one("read-only"),
    "restart": _one("restart"),
    "user": _one("user"),
    "hostname": _one("hostname"),
    "mem_limit": _one("memory"),
    "pids_limit": _one("pids-limit"),
    "cpus": _one("cpus"),
    "stop_grace_period": lambda value: [f"--stop-timeout={value.removesuffix('s')}"],
    "cap_drop": _each("cap-drop"),
    "security_opt": _each("security-opt"),
    "tmpfs": _each("tmpfs"),
    "ports": _each("publish"),
    "environment": _pairs("env"),
    "logging": lambda value: [f"--log-driver={value['driver']}", *_pairs("log-opt")(value["options"])],
    "healthcheck": _health,
}
