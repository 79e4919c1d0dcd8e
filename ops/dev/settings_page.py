#!/usr/bin/env python3
"""Write docs/reference/settings.md from the definitions of the settings; with --check say whether it is current."""

import ast
import inspect
import sys
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from leasebox.config import ApiSettings, ClientSettings
from leasebox_worker.config import Timers, WorkerSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field; read from the source, so that no import of the settings pays for it."""
    own = (base for base in reversed(model.__mro__) if base.__name__.endswith(("Settings", "Timers")))
    nodes = [ast.parse(inspect.getsource(base)).body[0] for base in own if base.__module__.startswith("leasebox")]
    return {
        ast.unparse(field.target): ast.literal_eval(text.value)
        for body in nodes
        if isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def rows(model: type[BaseModel], prefix: str) -> list[str]:
    """One line of a table for each field."""
    told = meanings(model)
    return [
        f"| `{variable(prefix, name, field)}` | {default(field)} | {' '.join(meaning.split())} |"
        for name, field in model.model_fields.items()
        for meaning in [field.description or told[name]]
    ]


def variable(prefix: str, name: str, field: FieldInfo) -> str:
    """What a setting is called in the environment; those of others are honoured as they are."""
    return name.upper() if field.validation_alias else f"{prefix}{name.upper()}"


def api_rows() -> list[str]:
    """The settings that the API has beside the client's."""
    return rows(ApiSettings, "LEASEBOX_")[len(ClientSettings.model_fields) :]


def default(field: FieldInfo) -> str:
    """A default as the page shows it; one that depends on the host is left to the description."""
    if field.default_factory is not None or field.default in (None, ()):
        return ""
    value = field.default
    if isinstance(value, frozenset):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def page() -> str:
    """The whole page."""
    head = "| name | default | meaning |\n|---|---|---|\n"
    parts = [
        "# Settings\n\nFrom the environment, then `.env`, then the TOML file that `LEASEBOX_CONFIG` names."
        " Times are seconds (`30`, `30s`, `1h`), sizes bytes (`64MiB`)."
        " Made from the definitions by `ops/dev/settings_page.py`.",
        "## Client and command line\n\n" + head + "\n".join(rows(ClientSettings, "LEASEBOX_")),
        "## API and its keys\n\nIt takes those of the client as well.\n\n" + head + "\n".join(api_rows()),
        "## Worker\n\n" + head + "\n".join(rows(WorkerSettings, "LEASEBOX_")),
        "## Timers\n\n"
        + "`ping < dead_man < fence < reclaim < adopt_grace`, `heartbeat < fence`; a worker refuses another order.\n\n"
        + head
        + "\n".join(rows(Timers, "LEASEBOX_TIMERS__")),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else "docs/reference/settings.md is out of date")
    PAGE.write_text(page())
