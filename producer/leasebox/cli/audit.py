"""`leasebox audit`: who did what to what, and whether somebody has changed what was written."""

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasebox.cli import direct
from leasebox.cli.verbs import Sentences
from leasebox.contract.errors import ConfigError

if TYPE_CHECKING:
    from leasebox._audit_check import Report
    from leasebox._reads import Flow

audit_app = typer.Typer(cls=Sentences, no_args_is_help=True, help="Who did what to what, and whether it still says so.")
Json = Annotated[bool, typer.Option("--json", help="Exact data as JSON on stdout.")]
POLL_S = 1.0
_COLUMNS = ("n", "at", "tenant", "actor", "door", "action", "target", "result", "more")


@audit_app.command()
def tail(
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=1, max=1000, help="How many, the newest.")
    ] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Exact data; with -f a line for each entry.")] = False,
) -> None:
    """Show the newest entries."""
    from leasebox.cli.show import as_json, table

    found = _entries(None, lines)
    if follow:
        try:
            _follow(found, is_json=json)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    elif json:
        as_json(found)
    else:
        table(_COLUMNS, [_row(entry) for entry in found])


@audit_app.command()
def verify(
    noted: Annotated[
        str | None, typer.Option("--noted", metavar="N:HASH", help="An earlier `last`, which must still be there.")
    ] = None,
    json: Json = False,
) -> None:
    """Look for entries that were changed, removed or moved; 1 if there are any, with each of them named."""
    from leasebox import _audit
    from leasebox.cli.show import as_json

    settings, names = direct.settings()
    head = _audit.noted_head(noted) if noted is not None else None
    refusal = ConfigError("the audit log is verified in Redis itself", hint="set LEASEBOX_URL to the Redis")
    report = direct.run(settings, _audit.verify(names, settings.signer, noted=head), refusal)
    if json:
        as_json(_report(report))
    else:
        _show(report)
    if not report.is_sound:
        raise typer.Exit(1)


def _entries(after: int | None, count: int) -> list[dict[str, Any]]:
    """Of the installation's Redis, or of the API that LEASEBOX_URL names."""
    from leasebox import _audit
    from leasebox._connect import is_http, transport_of

    settings, names = direct.settings()
    if is_http(settings.url):
        assert settings.url is not None
        transport = transport_of(settings, settings.url)
        try:
            return transport.run(_over_http(after, count))
        finally:
            transport.close()
    flow = _audit.newest(names, count) if after is None else _audit.after(names, after, count)
    return direct.run(settings, flow, ConfigError(""))


def _over_http(after: int | None, count: int) -> "Flow[list[dict[str, Any]]]":
    from leasebox._http_backend import Request

    query = {"limit": str(count)} if after is None else {"limit": str(count), "after": str(after)}
    return (yield Request("GET", "/v1/audit", list, query=query))  # type: ignore[no-any-return, misc]


def _follow(found: list[dict[str, Any]], *, is_json: bool) -> None:
    from leasebox._json_line import json_line
    from leasebox.cli.show import json_text, line

    pause, seen = threading.Event(), 0
    while True:
        for entry in found:
            seen = entry["n"]
            if is_json:
                json_text(json_line(entry))
            else:
                line("\t".join(map(str, _row(entry))))
        if not found:
            pause.wait(POLL_S)
        found = _entries(seen, 1000)


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    from leasebox.cli.show import clock

    more = " ".join(f"{name}={value}" for name, value in entry.get("more", {}).items())
    shown = {**entry, "at": clock(entry.get("at")), "more": more}
    return tuple(_printable(str(shown.get(name, ""))) for name in _COLUMNS)


def _printable(text: str) -> str:
    """What others chose (names, paths, hosts) must not steer a terminal."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _report(report: "Report") -> dict[str, Any]:
    from leasebox.cli.show import plain

    last = f"{report.last.n}:{report.last.hash}"
    return {"ok": report.is_sound, **plain(report), "last": last}


def _show(report: "Report") -> None:
    from leasebox.cli.show import line, say

    for fault in report.faults:
        line(f"{fault.n}\t{fault.kind}\t{fault.detail}")
    if report.fault_count > len(report.faults):
        line(f"and {report.fault_count - len(report.faults)} more")
    told = f"{report.entries} entries from {report.first} on, {report.signed} under the key; last {report.last.n}"
    say(f"leasebox: {'sound' if report.is_sound else 'NOT as it was written'}: {told}:{report.last.hash}")
