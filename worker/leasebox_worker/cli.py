"""`leasebox-worker`: run a worker, check this host, build images."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from leasebox.contract.errors import ConfigError, DriverUnsafe, LeaseboxError
from leasebox_worker import config

app = typer.Typer(no_args_is_help=True, add_completion=True, help="Run Leasebox jobs on this host.")
images = typer.Typer(no_args_is_help=True, help="Images that sandboxes start from.")
app.add_typer(images, name="images")

CANNOT_START = 78
"""Exit status when starting again cannot help (sysexits EX_CONFIG)."""


@app.command()
def run(
    node: Annotated[str | None, typer.Option(help="Name of this node; default the host's.")] = None,
    driver: Annotated[str | None, typer.Option(help="auto, docker, bubblewrap or process.")] = None,
    slots: Annotated[int | None, typer.Option(help="Jobs at the same time.")] = None,
    embedded: Annotated[
        bool, typer.Option(hidden=True, help="Of a private stack: rootless bubblewrap will do.")
    ] = False,
) -> None:
    """Claim jobs and run them until SIGTERM."""
    from leasebox_worker.tasks import serve
    from leasebox_worker.telemetry import log

    settings = config.load(node=node, driver=driver, slots=slots)
    if embedded:
        settings = settings.model_copy(update={"accept_missing": settings.accept_missing | config.EMBEDDED_WAIVERS})
    log.configure(settings.log_level, settings.log_format)
    serve(settings, is_embedded=embedded)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
    driver: Annotated[str | None, typer.Option(help="Check this driver; default all.")] = None,
) -> None:
    """Check what this host offers, and say for each failure what mends it."""
    from leasebox_worker.engine.diagnosis import diagnose

    checks = diagnose(config.load(), only=config.DriverName(driver) if driver else None)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))  # noqa: T201
    else:
        for check in checks:
            mark = "ok  " if check.ok else ("FAIL" if check.required else "warn")
            print(f"{mark}  {check.name}: {check.detail}")  # noqa: T201
            if not check.ok and check.hint:
                print(f"      {check.hint}")  # noqa: T201
    raise typer.Exit(0 if all(check.ok or not check.required for check in checks) else 1)


@images.command("build")
def build_images(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Build the images that changed; all if none is named."""
    from leasebox_images.build import build

    for name in build(names or None):
        print(name)  # noqa: T201


@images.command("list")
def list_images() -> None:
    """Show the images and whether the engine has them."""
    from leasebox_images.build import list_images as listed

    for line in listed():
        print(line)  # noqa: T201


def main() -> None:
    """Entry point: our errors as one sentence and a hint, never a traceback."""
    try:
        app()
    except LeaseboxError as exc:
        print(f"leasebox-worker: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_START if isinstance(exc, ConfigError | DriverUnsafe) else 1)


if __name__ == "__main__":
    main()
