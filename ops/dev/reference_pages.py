#!/usr/bin/env python3
"""Write the pages of docs/reference that the code defines; with --check say which are not current."""

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

from leasebox.cli.app import app as client_app
from leasebox.config import ApiSettings
from leasebox.contract import errors, events
from leasebox.server.app import create_app
from leasebox_worker.cli import app as worker_app

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
MADE = "Made from the code by `ops/dev/reference_pages.py`."


def cell(text: object) -> str:
    """Text as a cell of a table takes it."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heads: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """A table, or nothing where it has no rows."""
    if not rows:
        return ""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines) + "\n"


def paragraph(thing: object) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def commands(name: str, command: Any) -> Iterator[str]:
    """A section for each verb, those of groups behind their group."""
    if command.hidden:
        return
    if hasattr(command, "commands"):
        for inner in command.commands.values():
            yield from commands(f"{name} {inner.name}", inner)
        return
    given = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "help"]
    arguments = [parameter for parameter in given if parameter.param_type_name == "argument"]
    options = [parameter for parameter in given if parameter.param_type_name == "option"]
    usage = " ".join([name, *(argument.metavar or argument.name.upper() for argument in arguments)])
    yield f"## {name}\n\n{command.help or ''}\n\n```text\n{usage}{' [OPTIONS]' if options else ''}\n```\n"
    rows: list[tuple[object, ...]] = [(f"`{one.metavar or one.name.upper()}`", one.help or "") for one in arguments]
    rows += [(option(one), one.help or "") for one in options]
    yield table(("argument or option", "meaning"), rows)


def option(parameter: Any) -> str:
    """Its names, and what it takes."""
    takes = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    return ", ".join(f"`{name}{takes}`" for name in (*parameter.opts, *parameter.secondary_opts))


def cli_page() -> str:
    """Every verb of both programs."""
    verbs = [*commands("leasebox", typer.main.get_command(client_app))]
    verbs += commands("leasebox-worker", typer.main.get_command(worker_app))
    return f"# Commands\n\n{MADE} Data goes to stdout, everything else to stderr.\n\n" + "\n".join(filter(None, verbs))


def errors_page() -> str:
    """Every class of the one tree of errors."""

    def rows(kind: type[errors.LeaseboxError], depth: int) -> Iterator[tuple[object, ...]]:
        again = "yes" if kind.retryable else ""
        yield f"{'&nbsp;&nbsp;' * depth}`{kind.__name__}`", f"`{kind.code}`", kind.http_status, again, paragraph(kind)
        for inner in kind.__subclasses__():
            if inner.__module__ == errors.__name__:
                yield from rows(inner, depth + 1)

    heads = ("class in `leasebox.errors`", "`code`", "HTTP", "may succeed later", "meaning")
    return f"# Errors\n\n{MADE} A class stands below the one that it is a kind of.\n\n" + table(
        heads, list(rows(errors.LeaseboxError, 0))
    )


def events_page() -> str:
    """Every event of a job."""
    parts = [f"# Events\n\n{MADE} {' '.join((events.__doc__ or '').split())}\n"]
    for kind in get_args(events.Event):
        fields = [
            (f"`{field.name}`", f"`{getattr(field.type, '__name__', field.type)}`")
            for field in dataclasses.fields(kind)
        ]
        parts.append(f"## {kind.type}\n\n`{kind.__name__}`: {paragraph(kind)}\n\n{table(('field', 'type'), fields)}")
    return "\n".join(parts)


def shape(schema: dict[str, Any]) -> str:
    """A schema in a few words; one with a name leads to its section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(shape(one) for one in schema[word])
    if schema.get("type") == "array":
        return f"list of {shape(schema.get('items', {}))}"
    if "enum" in schema or "const" in schema:
        return " ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    return str(schema.get("type", "any"))


def rest_page() -> str:
    """Every route and every schema of the OpenAPI document."""
    document = create_app(ApiSettings(url="redis://127.0.0.1:6379/0")).openapi()
    parts = [f"# Routes and schemas\n\n{MADE} How they behave: [HTTP API](http.md).\n\n## Routes\n"]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parts.append(f"### {method.upper()} {path}\n\n{route.get('description') or route.get('summary', '')}\n")
            rows: list[tuple[object, ...]] = [
                (f"`{one['name']}`", one["in"], shape(one.get("schema", {})), one.get("description", ""))
                for one in route.get("parameters", [])
            ]
            parts.append(table(("parameter", "in", "type", "meaning"), rows))
            answers = [(f"`{status}`", answer.get("description", "")) for status, answer in route["responses"].items()]
            parts.append(table(("status", "answer"), answers))
    parts.append("## Schemas\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(f"### {name}\n\n{cell(schema.get('description', ''))}\n")
        fields = [
            (f"`{field}`", shape(told), told.get("description", ""))
            for field, told in schema.get("properties", {}).items()
        ]
        parts.append(table(("field", "type", "meaning"), fields) or f"{shape(schema)}\n")
    return "\n".join(filter(None, parts))


PAGES = {"cli.md": cli_page, "errors.md": errors_page, "events.md": events_page, "rest.md": rest_page}


def main() -> str | None:
    """Write the pages, or with --check name those that are out of date."""
    pages = {
        FOLDER / name: "\n".join(line.rstrip() for line in make().splitlines()) + "\n" for name, make in PAGES.items()
    }
    if "--check" in sys.argv:
        stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
        return f"docs/reference: out of date: {', '.join(stale)}" if stale else None
    for path, text in pages.items():
        path.write_text(text)
    return None


if __name__ == "__main__":
    sys.exit(main())
