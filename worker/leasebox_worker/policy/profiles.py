"""Which profiles a node serves: operator-owned presets of image, languages, limits and network, from a TOML file.

The file is the whole set, but for `default`, which is always there, because jobs that name no profile use it. A
profile may extend another one of the file or a built-in one; a field that it does not give has `default`'s built-in
value. Format: CONTRACT.md section 2; `ops/profiles.toml` is the built-in set, written out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from leasebox.contract import names
from leasebox.contract.errors import ConfigError
from leasebox.contract.faults import place, told_of
from leasebox.contract.sizes import Bytes, Seconds, duration_text, size_text
from leasebox.contract.spec import MAX_TIMEOUT_S, Domain, ProfileName, SecretName
from leasebox_worker.policy.languages import LANGUAGES, Toolbox, offered
from leasebox_worker.policy.tables import read_tables

MIB = 1 << 20
MAX_POOL = 64

Language = Annotated[str, StringConstraints(pattern=f"^({'|'.join(LANGUAGES)})$")]
Module = Annotated[str, StringConstraints(pattern=names.MODULE)]
EnvName = Annotated[str, StringConstraints(pattern=names.ENV_NAME)]


@dataclass(frozen=True, slots=True)
class Profile:
    """A preset; sizes in bytes, times in seconds. Meanings: CONTRACT.md section 2."""

    name: ProfileName
    image: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=names.IMAGE)] = "leasebox/python"
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = tuple(LANGUAGES)
    cpus: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)] = 2.0
    memory_bytes: Annotated[Bytes, Field(ge=16 * MIB)] = 512 * MIB
    disk_bytes: Annotated[Bytes, Field(ge=64 << 10)] = 192 * MIB
    tmp_bytes: Annotated[Bytes, Field(ge=64 << 10)] = 64 * MIB
    pids: Annotated[int, Field(ge=4, le=32768)] = 128
    open_files: int = 1024
    timeout_s: Annotated[Seconds, Field(gt=0, le=MAX_TIMEOUT_S)] = 30.0
    max_timeout_s: Annotated[Seconds, Field(gt=0, le=MAX_TIMEOUT_S)] = MAX_TIMEOUT_S
    output_bytes: int = 256 << 10
    stream_bytes: int = 64 * MIB
    seccomp: Literal["default", "strict", "debug"] = "default"
    network: tuple[Domain, ...] = ()
    pool: Annotated[int, Field(ge=0, le=MAX_POOL)] = 2
    preload: tuple[Module, ...] = ()
    secrets: tuple[SecretName, ...] = ()
    env_allow: tuple[EnvName, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Profile":
        if self.timeout_s > self.max_timeout_s:
            bound = duration_text(self.max_timeout_s)
            raise ValueError(f"timeout: {duration_text(self.timeout_s)} is above max_timeout, {bound}")
        if self.disk_bytes + self.tmp_bytes > self.memory_bytes // 2:
            raise ValueError(
                f"disk: with tmp {size_text(self.disk_bytes + self.tmp_bytes)}, above half of memory, "
                f"{size_text(self.memory_bytes // 2)}; disk and tmp are held in memory"
            )
        return self


FIXED = ("name", "open_files", "output_bytes", "stream_bytes")
"""Fields that no file sets."""
WRITTEN = {
    field.name.removesuffix("_bytes").removesuffix("_s"): field.name
    for field in fields(Profile)
    if field.name not in FIXED
}
"""How a field is called in the file: without its unit, which the value carries."""

_READER = TypeAdapter(Profile)

BUILT_IN = {
    profile.name: profile
    for profile in (
        Profile("default"),
        Profile("lightweight", cpus=1.0, memory_bytes=256 * MIB, disk_bytes=96 * MIB, tmp_bytes=32 * MIB, pool=0),
        Profile("heavy-compute", cpus=4.0, memory_bytes=2048 * MIB, disk_bytes=960 * MIB, pool=0),
        Profile("browser", memory_bytes=1024 * MIB, disk_bytes=448 * MIB, pool=0),
        Profile(
            "data",
            image="leasebox/data",
            memory_bytes=2048 * MIB,
            disk_bytes=768 * MIB,
            pool=0,
            preload=("numpy", "pandas", "matplotlib.pyplot"),
        ),
        Profile(
            "node",
            image="leasebox/node",
            memory_bytes=2048 * MIB,
            disk_bytes=768 * MIB,
            tmp_bytes=256 * MIB,
            pids=256,
            pool=0,
        ),
    )
}


def load(path: Path | None) -> dict[str, Profile]:
    """The profiles of a file; without one, those that are built in.

    Raises:
        ConfigError: Names the file, the profile, the field and the bound of each fault.
    """
    if path is None:
        return BUILT_IN
    found, faults = _read(path)
    if faults:
        raise ConfigError("; ".join(faults), hint="`leasebox profiles validate` checks a file")
    return {"default": BUILT_IN["default"]} | found


def faults_of(path: Path | None) -> list[str]:
    """Why a node would refuse this file, a sentence for each fault; empty: it would serve it."""
    return _read(path)[1] if path else []


def _read(path: Path) -> tuple[dict[str, Profile], list[str]]:
    tables, faults = read_tables(path, "profiles")
    if faults:
        return {}, faults
    no_tables = [name for name, table in tables.items() if not isinstance(table, dict)]
    if no_tables:
        return {}, [f"{path}: profiles: write [profiles.NAME] in place of {', '.join(no_tables)}"]
    found, faults = _profiles(tables)
    return found, [f"{path}: {fault}" for fault in faults]


def _profiles(tables: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Profile], list[str]]:
    """The profiles, and what is wrong, each as `profile: field: what and bound`."""
    found: dict[str, Profile] = {}
    faults: list[str] = []
    for name in tables:
        try:
            found[name] = _profile(name, tables)
        except ValueError as exc:
            faults += [f"profile {name!r}: {fault}" for fault in _told(exc)]
    return found, faults


def _profile(name: str, tables: Mapping[str, dict[str, Any]]) -> Profile:
    unknown = [key for key in tables[name] if key not in WRITTEN and key != "extends"]
    if unknown:
        known = ", ".join(("extends", *WRITTEN))
        raise ValueError("; ".join(f"{key}: unknown field; there are {known}" for key in unknown))
    values: dict[str, Any] = {}
    for table in reversed(_lineage(name, tables)):
        values |= {WRITTEN[key]: value for key, value in table.items() if key in WRITTEN}
    return _READER.validate_python({**values, "name": name})


def _lineage(name: str, tables: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The tables that make a profile, its own first."""
    seen: list[str] = []
    found: list[dict[str, Any]] = []
    step: object = name
    while step is not None:
        if not isinstance(step, str):
            raise ValueError(f"extends: is the name of one profile, not {step!r}")
        if step in seen:
            raise ValueError(f"extends: goes in a circle: {' -> '.join([*seen, step])}")
        if step in tables:
            table = tables[step]
        elif step in BUILT_IN:
            table = {short: getattr(BUILT_IN[step], long) for short, long in WRITTEN.items()}
        else:
            known = ", ".join(sorted({*tables, *BUILT_IN}))
            raise ValueError(f"extends: there is no profile {step!r}; there are {known}")
        seen.append(step)
        found.append(table)
        step = table.get("extends")
    return found


def _told(error: ValueError) -> list[str]:
    if not isinstance(error, ValidationError):
        return [str(error)]
    shown = {long: short for short, long in WRITTEN.items()}
    told = []
    for fault in error.errors():
        where = place([shown.get(str(part), part) for part in fault["loc"]])
        told.append(f"{where}: {told_of(fault)}" if where else told_of(fault))
    return told


def digest(profiles: Mapping[str, Profile]) -> str:
    """Names a set of profiles: equal sets have equal digests."""
    bodies = {name: asdict(profile) for name, profile in sorted(profiles.items())}
    return hashlib.sha256(json.dumps(bodies, sort_keys=True).encode()).hexdigest()[:16]


def published(profiles: Mapping[str, Profile], toolboxes: Mapping[str, Toolbox] | None = None) -> dict[str, str]:
    """What clients read for their early checks: name to JSON with all fields and the digest of the whole set.

    Args:
        toolboxes: What was found of each profile's languages: `languages` are those that are there, `runtimes` their
            versions. It is no part of the digest: an image of the next day is no other profile.
    """
    named = digest(profiles)
    return {
        name: json.dumps({**asdict(profile), **_there(profile, (toolboxes or {}).get(name)), "digest": named})
        for name, profile in sorted(profiles.items())
    }


def _there(profile: Profile, toolbox: Toolbox | None) -> dict[str, object]:
    languages = offered(profile.languages, toolbox)
    found = toolbox or {}
    return {"languages": languages, "runtimes": {name: found[name].version for name in languages if name in found}}
