"""How much may each tenant use? Bounds that an operator writes into a TOML file; the scripts hold tenants to them.

A table `[tenants.NAME]` is all that binds this tenant; `[tenants.default]` binds every tenant that has none of its
own. A field that is left out is no bound. Format: CONTRACT.md section 7; `ops/tenants.toml` shows one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from leasebox.contract.errors import ConfigError
from leasebox.contract.faults import place, told_of
from leasebox.contract.names import IN_WORDS, LABEL
from leasebox.contract.sizes import Bytes, Seconds
from leasebox_worker.policy.tables import read_tables

MOST = 10**15
"""The greatest bound; Lua's numbers are exact far beyond it."""

Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]


@dataclass(frozen=True, slots=True)
class Quota:
    """Bounds of one tenant, None = none; 0 lets nothing through.

    Attributes:
        queued: Jobs that wait at the same time.
        running: Jobs that run at the same time; further ones wait for their end.
        sessions: Live sessions.
        cpu_s_per_day: CPU time of the jobs that ended on a UTC day.
        bytes_per_day: Output of the jobs that ended on a UTC day.
        submits_per_minute: Jobs accepted in a minute of the clock.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    queued: Count | None = None
    running: Count | None = None
    sessions: Count | None = None
    cpu_s_per_day: Annotated[Seconds, Field(strict=True, ge=0, le=MOST)] | None = None
    bytes_per_day: Annotated[Bytes, Field(strict=True, ge=0, le=MOST)] | None = None
    submits_per_minute: Count | None = None


_READER = TypeAdapter(Quota)
_KNOWN = tuple(field.name for field in fields(Quota))


def load(path: Path | None) -> dict[str, Quota]:
    """The quotas of a file, by tenant; without a file, none.

    Raises:
        ConfigError: Names the file, the tenant, the field and the bound of each fault.
    """
    if path is None:
        return {}
    found, faults = _read(path)
    if faults:
        raise ConfigError("; ".join(faults), hint="LEASEBOX_TENANTS_FILE names the file; `ops/tenants.toml` shows one")
    return found


def _read(path: Path) -> tuple[dict[str, Quota], list[str]]:
    tables, faults = read_tables(path, "tenants")
    found: dict[str, Quota] = {}
    for name, table in tables.items():
        told = _faults_of_table(name, table)
        if not told:
            try:
                found[name] = _READER.validate_python(table)
            except ValidationError as exc:
                told = [_told(fault) for fault in exc.errors()]
        faults += [f"{path}: tenant {name!r}: {fault}" for fault in told]
    return found, faults


def _faults_of_table(name: str, table: object) -> list[str]:
    if not re.fullmatch(LABEL, name):
        return [f"is no name of a tenant: {IN_WORDS[LABEL]}"]
    if not isinstance(table, dict):
        return [f"write [tenants.{name}] and its fields below"]
    known = ", ".join(_KNOWN)
    return [f"{key}: unknown field; there are {known}" for key in table if key not in _KNOWN]


def _told(fault: Any) -> str:
    return f"{place(list(fault['loc']))}: {told_of(fault)}"


def digest(quotas: Mapping[str, Quota]) -> str:
    """Names a set of quotas: equal sets have equal digests."""
    return hashlib.sha256(json.dumps(published(quotas), sort_keys=True).encode()).hexdigest()[:16]


def published(quotas: Mapping[str, Quota]) -> dict[str, str]:
    """What the scripts read: tenant to JSON with the bounds that it has."""
    return {
        tenant: json.dumps({name: bound for name, bound in asdict(quota).items() if bound is not None})
        for tenant, quota in sorted(quotas.items())
    }
