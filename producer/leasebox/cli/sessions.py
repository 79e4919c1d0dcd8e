"""The verbs of `leasebox sessions`, and their short forms; what they need is imported when they run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasebox.cli import request
from leasebox.cli.verbs import Sentences
from leasebox.contract.errors import SessionExpired, UnknownSession

if TYPE_CHECKING:
    from leasebox.client import Client
    from leasebox.session import Session

sessions_app = typer.Typer(
    cls=Sentences, no_args_is_help=True, help="Named lines of jobs that share a sandbox and its files."
)

Json = Annotated[bool, typer.Option("--json", help="Exact data as JSON on stdout.")]
Name = Annotated[str, typer.Argument(metavar="SESSION", help="Name of a session.")]
NewName = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name; without one it gets one.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="Preset; default `default`.", callback=request.utf8)]
Idle = Annotated[str | None, typer.Option(metavar="S", help="Ends so long after its last use: 90, 30m, 2h.")]
Age = Annotated[str | None, typer.Option(metavar="S", help="Ends, or gets a new sandbox, at this age.")]


@sessions_app.command("list")
def list_sessions(json: Json = False) -> None:
    """List the live sessions, the last used first."""
    from leasebox.cli.session_view import show_sessions

    show_sessions(_client().sessions(), is_json=json)


@sessions_app.command("show")
def show(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="A line for each change, until the session ends.")] = False,
    json: Json = False,
) -> None:
    """Show how a session stands and what it uses; one that has ended says why for a day."""
    from leasebox.cli.session_view import show_measured, watch_session

    with_session(name, lambda session: (watch_session if watch else show_measured)(session, is_json=json))


@sessions_app.command("create")
def create(
    name: NewName = None,
    profile: Profile = None,
    idle_timeout: Idle = None,
    max_age: Age = None,
    json: Json = False,
) -> None:
    """Make a session, or find the live one of that name; prints its name."""
    from leasebox.cli.show import as_json, line

    idle_timeout_s, max_age_s = request.seconds("--idle-timeout", idle_timeout), request.seconds("--max-age", max_age)
    session = _client().session(name, profile=profile, idle_timeout_s=idle_timeout_s, max_age_s=max_age_s)
    if json:
        as_json(session.info())
    else:
        line(session.name)


@sessions_app.command("exec")
def execute(
    name: Name,
    argv: Annotated[list[str], typer.Argument(metavar="-- ARGV...", help="Program and arguments; no shell.")],
    cwd: Annotated[str | None, typer.Option(metavar="DIR", help="Folder below /workspace.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Environment of the command. May be repeated.")
    ] = None,
    stdin: Annotated[str | None, typer.Option(metavar="FILE", help="Standard input; - is ours, the default.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="S", help="Wall time of the run: 30, 30s, 5m.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The Result as JSON in place of live output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No last line about the outcome.")] = False,
) -> None:
    """Run a command in a live session's sandbox and show its output live; exits as the command did."""
    from leasebox.cli.follow import Form, follow

    is_live = request.is_live(stdin, is_program_there=False, is_detached=False, may_repeat=False)
    given: dict[str, Any] = {
        "cwd": cwd,
        "env": request.named_values("--env", env or []),
        "stdin": None if is_live else request.standard_input(stdin, is_program_there=False),
        "stdin_open": is_live,
        "limits": request.limits(timeout, None),
    }
    session = _client().session(name, must_exist=True)
    given = {field: value for field, value in given.items() if value}
    form = Form.JSON if json else Form.LIVE
    follow(lambda: session.commands.submit(argv, **given), form, is_live=is_live, is_quiet=quiet)


@sessions_app.command("close")
def close(name: Name, json: Json = False) -> None:
    """End a session: what waits is cancelled, what runs is asked to end."""
    from leasebox.cli.session_view import show_session

    with_session(name, lambda session: show_session(session.close(), is_json=json))


@sessions_app.command("touch")
def touch(name: Name, json: Json = False) -> None:
    """Start a session's idle time anew."""
    from leasebox.cli.session_view import show_session

    def _touched(session: "Session") -> None:
        session.touch()
        show_session(session.info(), is_json=json)

    with_session(name, _touched)


def with_session(name: str, action: "Callable[[Session], None]") -> None:
    """Carry out a verb about a session; 1 when it is not there (any more)."""
    from leasebox._sessions import SessionPlan, checked_name
    from leasebox.cli.show import say
    from leasebox.session import Session

    checked_name(name)
    try:
        action(Session(_client(), SessionPlan(name)))
    except (UnknownSession, SessionExpired) as exc:
        say(f"leasebox: {exc}")
        raise typer.Exit(1) from None


def _client() -> "Client":
    from leasebox.client import Client

    return Client()
