"""How is an operator's TOML file of `[kind.NAME]` tables read?"""

import tomllib
from pathlib import Path
from typing import Any


def read_tables(path: Path, kind: str) -> tuple[dict[str, Any], list[str]]:
    """What stands below `[kind.…]` by name, not looked at yet; and why the file holds none, a sentence each."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as exc:
        return {}, [f"{path}: cannot be read: {exc.strerror}"]
    except ValueError as exc:
        return {}, [f"{path}: is not TOML: {exc}"]
    tables = data.get(kind, {})
    if data.keys() - {kind} or not isinstance(tables, dict):
        return {}, [f"{path}: holds [{kind}.NAME] tables alone, not {', '.join(data)}"]
    return tables, []
