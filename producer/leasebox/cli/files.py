"""The verbs of `leasebox files`; what they need is imported when they run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leasebox.cli.verbs import Sentences
from leasebox.contract.errors import FileError, SessionExpired, UnknownSession

if TYPE_CHECKING:
    from leasebox.session import Session

files_app = typer.Typer(cls=Sentences, no_args_is_help=True, help="The files of a session.")

Json = Annotated[bool, typer.Option("--json", help="Exact data as JSON on stdout.")]
Name = Annotated[str, typer.Argument(metavar="SESSION", help="Name of a session.")]
Inside = Annotated[str, typer.Argument(metavar="PATH", help="Path in /workspace.")]
Source = Annotated[str, typer.Argument(metavar="[FILE|DIR|-]", help="What to put; - reads standard input.")]
Target = Annotated[Path | None, typer.Option("--out", metavar="FILE|DIR", help="Where to; default standard output.")]
Depth = Annotated[int, typer.Option(metavar="N", min=1, max=64, help="How many levels deep.")]


@files_app.command("get")
def get(name: Name, path: Inside, out: Target = None) -> None:
    """Copy a file out of a session, or with --out a whole folder."""
    from leasebox.cli.follow import write

    with _session(name, must_exist=True) as session:
        if out is not None and session.files.stat(path).type == "directory":
            session.files.download_dir(path, out)
        elif out is not None:
            (out / Path(path).name if out.is_dir() else out).write_bytes(session.files.read(path))
        else:
            write(sys.stdout.buffer, session.files.read(path))


@files_app.command("put")
def put(name: Name, path: Inside, source: Source = "-") -> None:
    """Copy a file or a whole folder into a session, which is made if it is not there."""
    with _session(name, must_exist=False) as session:
        if source == "-":
            session.files.write(path, sys.stdin.buffer.read())
        elif Path(source).is_dir():
            session.files.upload_dir(source, path)
        else:
            session.files.write(path, Path(source))


@files_app.command("list")
def list_files(name: Name, path: Inside = ".", depth: Depth = 1, json: Json = False) -> None:
    """List what is in a folder of a session."""
    from leasebox.cli.show import as_json, clock, table

    with _session(name, must_exist=True) as session:
        entries = session.files.list(path, depth)
        if json:
            as_json(entries)
            return
        rows = [(_visible(e.path), e.type, e.size_bytes, f"{e.mode:04o}", clock(e.modified_at)) for e in entries]
        table(("path", "type", "bytes", "mode", "modified"), rows)


@files_app.command("remove")
def remove(name: Name, path: Inside) -> None:
    """Remove a file of a session, or a folder with all that is in it."""
    with _session(name, must_exist=True) as session:
        session.files.remove(path)


@contextmanager
def _session(name: str, *, must_exist: bool) -> "Iterator[Session]":
    """The session of a verb; 1 when it, or the file, is not there."""
    from leasebox.cli.show import say
    from leasebox.client import Client

    try:
        yield Client().session(name, must_exist=must_exist)
    except (FileError, UnknownSession, SessionExpired) as exc:
        say(f"leasebox: {exc}")
        raise typer.Exit(1) from None


def _visible(path: str) -> str:
    """A path on one line, without what steers a terminal."""
    return path if path.isprintable() else repr(path)
