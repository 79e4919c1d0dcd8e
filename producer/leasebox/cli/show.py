"""How the command line prints: data on stdout, everything else on stderr, rich only on a terminal."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from leasebox.config import color_wanted

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def say(text: str) -> None:
    """Print a line for people on stderr; where nobody can read it (any more), that stops nothing."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def line(text: str) -> None:
    """Print a line of data on stdout."""
    print(text, flush=True)  # noqa: T201


def as_json(data: object) -> None:
    """Print data as JSON; indented on a terminal."""
    json_text(json.dumps(plain(data), indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def json_text(text: str) -> None:
    """Print what is JSON already; characters that stdout's encoding lacks, and halves of such, are escaped."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    line(text)


def plain(data: object) -> Any:
    """Models and dataclasses as what JSON knows."""
    if isinstance(data, BaseModel):
        return data.model_dump(mode="json")
    if is_dataclass(data) and not isinstance(data, type):
        return plain(asdict(data))
    if isinstance(data, Mapping):
        return {str(name): plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(item) for item in data]
    return data


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows: a table on a terminal, else one line a row with tabs and without a heading."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for cells in texts:
            line("\t".join(cells))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for cells in texts:
        shown.add_row(*cells)
    Console(no_color=not color_wanted(), highlight=False, markup=False).print(shown)


def pairs(items: Sequence[tuple[str, object]]) -> None:
    """Print names with their values, those without a value left out."""
    width = max((len(name) for name, _ in items), default=0)
    for name, value in items:
        if value not in (None, "", {}, []):
            line(f"{name:<{width}}  {value}")


def clock(at: float | None) -> str | None:
    """Unix seconds as local time."""
    return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="seconds")
