"""`leasebox-worker`: run a worker, check this host, build images."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from leasebox.contract.errors import ConfigError, DriverUnsafe, LeaseboxError
from leasebox_worker import config

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run Leasebox jobs on this host.",
)

CANNOT_START = 78
"""Exit status when starting again cannot help (sysexits EX_CONFIG)."""


@app.command()
def run(
    node: Annotated[str | None, typer.Option(metavar="NODE", help="Name of this node; default the host's.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="DRIVER", help="auto, docker, bubblewrap or process.")] = None,
    slots: Annotated[int | None, typer.Option(metavar="N", help="Jobs at the same time; default 4 a core.")] = None,
    embedded: Annotated[
        bool, typer.Option(hidden=True, help="Of a private stack: rootless bubblewrap will do.")
    ] = False,
) -> None:
    """Claim jobs and run them until SIGTERM."""
    config.name_celery_pool("leasebox_worker.celery_pool:TaskPool")  # read when celery is imported
    from leasebox.contract.telemetry.process import heard
    from leasebox_worker.tasks import serve

    settings = config.load(node=node, driver=driver, slots=slots)
    with heard(settings, "leasebox-worker", settings.node, is_traced=config.traces_wanted()):
        serve(settings, is_embedded=embedded)


@app.command()
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node, as `leasebox nodes` lists it.")],
    destroy: Annotated[
        bool, typer.Option("--destroy", help="End also the sandboxes that would outlive the worker.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds to watch it; default what a drain may take.")
    ] = None,
) -> None:
    """Have a node finish what runs, give back the rest, and stop; wherever it is."""
    from leasebox.contract.audit import Door, Record
    from leasebox.contract.keys import Keys
    from leasebox.contract.scripts import Runner
    from leasebox_worker.engine.connection import connect
    from leasebox_worker.engine.drain import ask_node, progress
    from leasebox_worker.telemetry.audit import write

    settings = config.load()
    client, keys = connect(settings.url), Keys(settings.prefix)
    ask_node(client, keys, node, destroy=destroy)
    asked = Record(time.time(), Door.CLI, "node.drain", target=node, more={"sandboxes": "destroy"} if destroy else {})
    write(Runner(client), keys, settings.signer, [asked])
    gone_after_s = settings.timers.reclaim_s
    watch_s = settings.drain_timeout_s + 2 * gone_after_s if timeout is None else timeout
    deadline = time.monotonic() + watch_s
    for line in progress(client, keys, node, gone_after_s=gone_after_s, until=deadline):
        print(line, file=sys.stderr)  # noqa: T201
    if time.monotonic() >= deadline:
        raise typer.Exit(1)


@app.command()
def sweep() -> None:
    """End the sessions of all nodes that are due, now instead of within a minute; prints each with its reason."""
    from leasebox.contract.audit import Door, Record
    from leasebox.contract.keys import Keys
    from leasebox.contract.scripts import Runner
    from leasebox.contract.telemetry import log
    from leasebox_worker.engine.connection import connect
    from leasebox_worker.lifecycle.sweeper import Sweeper
    from leasebox_worker.telemetry.audit import write

    settings = config.load()
    log.configure("warning", settings.log_format, stream=sys.stderr)
    client, keys = connect(settings.url), Keys(settings.prefix)
    runner = Runner(client)
    sweeper = Sweeper(client, runner, keys, tombstone_ttl_s=settings.timers.tombstone_ttl_s)
    ended: list[Record] = []
    try:
        for line, why in sweeper.sweep_all():
            print(f"{line}\t{why}")  # noqa: T201
            tenant, _, session = line.partition("/")
            ended.append(Record(time.time(), Door.CLI, "session.sweep", "local", tenant, session, more={"reason": why}))
    finally:
        write(runner, keys, settings.signer, ended)


@app.command()
def exporter(
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Default LEASEBOX_EXPORTER_PORT.")] = None,
) -> None:
    """Tell Prometheus what waits, runs and is late in this installation, until SIGTERM; needs no worker to live."""
    from leasebox.contract.keys import Keys
    from leasebox.contract.scripts import Runner
    from leasebox.contract.telemetry.process import heard
    from leasebox_worker.engine.connection import client_of
    from leasebox_worker.telemetry.exporter import Exporter, serve

    settings = config.load(exporter_port=port)
    # It asks twice at most: less than the 10 s that Prometheus waits by default.
    runner, keys = Runner(client_of(settings.url, timeout_s=2.0)), Keys(settings.prefix)
    found = Exporter(runner, keys, silent_after_s=settings.timers.reclaim_s)
    with heard(settings, "leasebox-exporter", settings.node, is_traced=False):
        serve(found, settings.metrics_host, settings.exporter_port).join()


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
    driver: Annotated[str | None, typer.Option(metavar="DRIVER", help="Check this driver; default all.")] = None,
    embedded: Annotated[bool, typer.Option(hidden=True, help="Of a private stack: as `run --embedded`.")] = False,
) -> None:
    """Check what this host offers, and say for each failure what mends it."""
    from leasebox_worker.engine.diagnosis import diagnose

    checks = diagnose(config.load(), only=config.DriverName(driver) if driver else None, is_embedded=embedded)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))  # noqa: T201
    else:
        for check in checks:
            mark = "ok  " if check.ok else ("FAIL" if check.required else "warn")
            print(f"{mark}  {check.name}: {check.detail}")  # noqa: T201
            if not check.ok and check.hint:
                print(f"      {check.hint}")  # noqa: T201
    raise typer.Exit(0 if all(check.ok or not check.required for check in checks) else 1)


@app.command(hidden=True)
def profiles(file: Annotated[Path | None, typer.Argument(help="Default LEASEBOX_PROFILES_FILE.")] = None) -> None:
    """Check a file of profiles; one JSON object on stdout, for `leasebox profiles validate`."""
    from leasebox_worker.policy.profiles import faults_of, load

    file = file or config.load().profiles_file
    faults = faults_of(file)
    names = [] if faults else sorted(load(file))
    found = {"ok": not faults, "file": str(file) if file else None, "profiles": names, "faults": faults}
    print(json.dumps(found))  # noqa: T201
    raise typer.Exit(1 if faults else 0)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def images(context: typer.Context) -> None:
    """Build, list or check the images that sandboxes start from."""
    from leasebox_images.build import main as build_images

    raise typer.Exit(build_images(context.args))


def main() -> None:
    """Entry point: our errors as one sentence and a hint, never a traceback."""
    try:
        app()
    except LeaseboxError as exc:
        print(f"leasebox-worker: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_START if isinstance(exc, ConfigError | DriverUnsafe) else 1)
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("leasebox"):
            raise
        print(f"leasebox-worker: {exc.name} is not installed (pip install 'leasebox[worker]')", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
