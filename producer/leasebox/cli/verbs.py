"""How does `--help` list verbs? In groups, in the order in which one comes to need them, no sentence cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from leasebox.cli import BROKEN_PIPE

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

_GROUPS = {
    "Run": ("run", "submit", "batch"),
    "Follow": ("logs", "status", "why", "result", "cancel", "jobs", "top"),
    "Work in a session": ("create", "destroy", "sessions", "files"),
    "See the installation": ("profiles", "nodes", "queues", "keys", "audit"),
    "Set up": ("up", "down", "doctor", "config", "version"),
}


class Sentences(TyperGroup):
    """A group of verbs whose help cuts no sentence."""

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """Headings, each with its verbs."""
        yield "Commands", list(self.commands)

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the verbs, group by group."""
        width = max(map(len, self.commands), default=0)
        for heading, names in self.groups():
            shown = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name.ljust(width), verb.help or "") for name, verb in shown if verb and not verb.hidden]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


@contextmanager
def _ended_by_broken_pipe() -> Iterator[None]:
    """Here and not in `main`: Typer would take a broken pipe for itself, and make it 1."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None


class Verbs(Sentences):
    """The verbs of `leasebox` itself."""

    def make_context(self, *args: Any, **more: Any) -> "Context":
        """Read the command line, and print what `--help` and `--version` ask for."""
        with _ended_by_broken_pipe():
            return super().make_context(*args, **more)

    def invoke(self, ctx: "Context") -> object:
        """Carry out a verb."""
        with _ended_by_broken_pipe():
            return super().invoke(ctx)

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """Headings, each with its verbs; one that no heading has is still shown, at the end."""
        for heading, names in _GROUPS.items():
            yield heading, [name for name in names if name in self.commands]
        grouped = {name for names in _GROUPS.values() for name in names}
        yield "More", [name for name in self.commands if name not in grouped]
