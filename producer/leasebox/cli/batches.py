"""`leasebox batch`: run a file of jobs, look at a batch, cancel one."""

from pathlib import Path
from typing import Annotated

import typer

from leasebox.cli import request
from leasebox.cli.verbs import Sentences
from leasebox.contract.errors import UnknownBatch

batch_app = typer.Typer(
    cls=Sentences, no_args_is_help=True, help="Many jobs from a file, counted and cancelled together."
)

Json = Annotated[bool, typer.Option("--json", help="Exact data as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no last line.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="Id of a batch.", callback=request.utf8)]


@batch_app.command("run")
def run(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl|-", help="A job a line: its fields, perhaps `key`.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A result a line; run again to do the rest.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run each line that has no result in the output yet; exits 0 when every line has one."""
    from leasebox.cli.batch_run import run_file
    from leasebox.client import Client

    with Client() as client:
        run_file(client, file, out, is_json=json, is_quiet=quiet)


@batch_app.command("show")
def show(batch: BatchId, json: Json = False) -> None:
    """Show how many jobs a batch has, and how many ended how."""
    _tell(batch, is_cancelled=False, is_json=json)


@batch_app.command("cancel")
def cancel(batch: BatchId, json: Json = False) -> None:
    """End all jobs of a batch: those that wait at once, those that run when their processes are gone."""
    _tell(batch, is_cancelled=True, is_json=json)


def _tell(batch_id: str, *, is_cancelled: bool, is_json: bool) -> None:
    from leasebox.cli.show import as_json, pairs, say
    from leasebox.client import Client

    with Client() as client:
        batch = client.batch(batch_id=batch_id)
        try:
            found = batch.cancel() if is_cancelled else batch.progress()
        except UnknownBatch as exc:
            say(f"leasebox: {exc}")
            raise typer.Exit(1) from None
    if is_json:
        as_json(found)
        return
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.by_outcome.items()))
    state = "finished" if found.finished_at is not None else "sealed" if found.sealed else "open"
    pairs([("batch", found.id), ("name", found.name), ("state", state), ("done", f"{found.done} of {found.total}")])
    pairs([("by outcome", outcomes)])
