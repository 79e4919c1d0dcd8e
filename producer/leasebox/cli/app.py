"""The verbs of `leasebox`; what they need is imported when they run, so that each starts fast."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasebox.cli import audit, batches, files, keys, request, sessions
from leasebox.cli.verbs import Sentences, Verbs
from leasebox.contract.errors import UnknownJob

if TYPE_CHECKING:
    from leasebox.cli.follow import Form
    from leasebox.client import Client

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
profiles_app = typer.Typer(cls=Sentences, no_args_is_help=True, help="Presets of image, languages, limits and network.")
app.add_typer(profiles_app, name="profiles")
app.add_typer(sessions.sessions_app, name="sessions")
app.add_typer(files.files_app, name="files")
app.add_typer(keys.keys_app, name="keys")
app.add_typer(audit.audit_app, name="audit")
app.add_typer(batches.batch_app, name="batch")
app.command("create", help="Short for `sessions create`.")(sessions.create)
app.command("destroy", help="Short for `sessions close`.")(sessions.close)

Json = Annotated[bool, typer.Option("--json", help="Exact data as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No last line about the outcome.")]
Source = Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="Program to run; - reads standard input.")]
Args = Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS...]", help="Arguments of the program.")]
Code = Annotated[str | None, typer.Option("-c", metavar="CODE", help="Program given here, in place of a file.")]
Lang = Annotated[
    str | None,
    typer.Option(metavar="LANG", help=f"Language; default by the ending of FILE, else python: {request.ENDINGS}."),
]
Session = Annotated[
    str | None, typer.Option(metavar="NAME", help="Session whose sandbox and files the job uses; a new one is made.")
]
Stateful = Annotated[bool, typer.Option("--stateful", help="As a cell of the session's kept Python; needs --session.")]
Artifact = Annotated[
    list[str] | None, typer.Option("--artifact", metavar="GLOB", help="Files to keep: out/**, *.png. May be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for artifacts, pictures and tables.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="Preset; default the session's, else `default`.")]
Timeout = Annotated[str | None, typer.Option(metavar="S", help="Wall time of the run: 30, 30s, 5m.")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Memory: 256MiB, 1GiB.")]
File = Annotated[
    list[str] | None,
    typer.Option("--file", metavar="HOST[:PATH]", help="File put into /workspace. May be repeated."),
]
Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="K=V", help="Environment of the program. May be repeated.")
]
Secret = Annotated[
    list[str] | None, typer.Option("--secret", metavar="N", help="Secret that the profile offers. May be repeated.")
]
Network = Annotated[
    list[str] | None,
    typer.Option("--network", metavar="DOMAIN", help="Domain the job may reach, of the profile's. May be repeated."),
]
Stdin = Annotated[str | None, typer.Option("--stdin", metavar="FILE", help="Standard input; - is ours, the default.")]
Priority = Annotated[str | None, typer.Option(metavar="CLASS", help="interactive, default or batch.")]
Retries = Annotated[int, typer.Option(metavar="N", min=0, max=10, help="Further attempts when the machine failed.")]
Key = Annotated[
    str | None, typer.Option("--idempotency-key", metavar="KEY", help="A repeat with the same key is the same job.")
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.", callback=request.utf8)]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        version()
        raise typer.Exit


@app.callback()
def leasebox(
    is_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run untrusted code in sandboxes, from a queue."""


@app.command()
def run(
    source: Source = None,
    args: Args = None,
    code: Code = None,
    lang: Lang = None,
    session: Session = None,
    stateful: Stateful = False,
    profile: Profile = None,
    timeout: Timeout = None,
    memory: Memory = None,
    file: File = None,
    env: Env = None,
    secret: Secret = None,
    network: Network = None,
    stdin: Stdin = None,
    artifact: Artifact = None,
    out: Out = None,
    priority: Priority = None,
    retries: Retries = 0,
    idempotency_key: Key = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The Result as JSON in place of live output.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Each event as a line of JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run a program in a sandbox and show its output live; exits as the program did."""
    form = _form(is_json=json, is_events=events)
    is_program = source == "-" and code is None
    is_live = request.is_live(stdin, is_program, is_detached=detach, may_repeat=bool(retries or idempotency_key))
    program = request.program(source, code, args or [])
    spec = _spec(
        program, language=lang, session=session, stateful=stateful, profile=profile,
        limits=request.limits(timeout, memory), files=request.files(file or [], program.pop("files", {})),
        env=request.named_values("--env", env or []), secrets=secret, network=network,
        stdin=None if is_live else request.standard_input(stdin, is_program), stdin_open=is_live,
        artifacts=artifact, priority=priority, retries=retries, idempotency_key=idempotency_key,
    )  # fmt: skip
    from leasebox.cli.follow import follow, show_accepted

    client = _client()
    if detach:
        show_accepted(client.submit(**spec), is_json=json)
    else:
        follow(lambda: client.submit(**spec), form, is_live=is_live, is_quiet=quiet, out=out)


@app.command()
def submit(
    source: Source = None,
    args: Args = None,
    code: Code = None,
    lang: Lang = None,
    session: Session = None,
    stateful: Stateful = False,
    profile: Profile = None,
    timeout: Timeout = None,
    memory: Memory = None,
    file: File = None,
    env: Env = None,
    secret: Secret = None,
    network: Network = None,
    stdin: Stdin = None,
    artifact: Artifact = None,
    priority: Priority = None,
    retries: Retries = 0,
    idempotency_key: Key = None,
    json: Json = False,
) -> None:
    """Queue a program and print the job's id; short for `run --detach`."""
    run(
        source, args, code, lang, session, stateful, profile, timeout, memory, file, env, secret, network, stdin,
        artifact, priority=priority, retries=retries, idempotency_key=idempotency_key, detach=True, json=json,
    )  # fmt: skip


def _spec(fields: dict[str, Any], **options: object) -> dict[str, Any]:
    return fields | {name: value for name, value in options.items() if value not in (None, {}, [], 0)}


def _form(*, is_json: bool, is_events: bool) -> "Form":
    from leasebox.cli.follow import Form

    if is_json and is_events:
        raise typer.BadParameter("give --json or --events, not both")
    return Form.JSON if is_json else Form.EVENTS if is_events else Form.LIVE


def _client() -> "Client":
    from leasebox.client import Client

    return Client()


@app.command()
def logs(
    job: Job,
    is_following: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the end; exit as it did.")] = False,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what came after this event.", callback=request.utf8)
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Each event as a line of JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show the output of a job so far."""
    from leasebox.cli.stored import show_logs

    _known(lambda: show_logs(_client().job(job), after, is_following=is_following, is_events=events, is_quiet=quiet))


@app.command()
def status(job: Job, json: Json = False) -> None:
    """Show how a job stands, what it waits for, and why it was tried again."""
    from leasebox.cli.stored import show_standing

    _known(lambda: show_standing(_client().job(job), is_json=json))


@app.command()
def why(job: Job, json: Json = False) -> None:
    """Say why a job waits or how it stands, and what to do about it."""
    from leasebox.cli.stored import show_why

    _known(lambda: show_why(_client().job(job).why(), is_json=json))


@app.command()
def result(
    job: Job,
    wait: Annotated[float | None, typer.Option("--wait", metavar="S", help="Longest wait for the end.")] = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Wait for the end of a job, print its output, and exit as it did."""
    from leasebox.cli.stored import show_result

    _known(lambda: show_result(_client().job(job), wait, is_json=json, is_quiet=quiet, out=out))


@app.command()
def cancel(job: Job, json: Json = False) -> None:
    """End a job: at once if it waits, else when its processes are gone."""
    from leasebox.cli.follow import CANCEL_WAIT_S
    from leasebox.cli.stored import show_status

    _known(lambda: show_status(_client().job(job).cancel(CANCEL_WAIT_S), is_json=json))


def _known(action: Any) -> None:
    """Carry out a verb about a job; 1 when there is no such job."""
    from leasebox.cli.show import say

    try:
        action()
    except UnknownJob as exc:
        say(f"leasebox: {exc}")
        raise typer.Exit(1) from None


@app.command()
def jobs(
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this session.", callback=request.utf8)
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only in this state, as queued, or of this outcome, as timeout.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="Only with this metadata. May be repeated.", callback=request.utf8),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="How many at most.")] = 50,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from leasebox.cli.stored import show_jobs
    from leasebox.contract.result import Outcome, State

    wanted = request.named_values("--metadata", metadata or [])
    if state is not None and state not in (known := [*State, *Outcome]):
        raise typer.BadParameter(f"--state {state}: write one of {', '.join(known)}")
    show_jobs(_client().jobs(state, session, wanted, limit), is_json=json)


@profiles_app.command("list")
def profiles_list(json: Json = False) -> None:
    """List the profiles that nodes serve."""
    from leasebox.cli.installation import show_profiles

    show_profiles(_client().profiles(), is_json=json)


@profiles_app.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="Name of a profile.")], json: Json = False
) -> None:
    """Show everything about one profile."""
    from leasebox.cli.installation import show_profile

    show_profile(_client().profiles(), name, is_json=json)


@profiles_app.command("validate")
def profiles_validate(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default LEASEBOX_PROFILES_FILE.")] = None,
    json: Json = False,
) -> None:
    """Check a file of profiles as a worker would read it; needs no Redis."""
    from leasebox.cli.validation import validate_profiles

    validate_profiles(file, is_json=json)


@app.command()
def nodes(json: Json = False) -> None:
    """List the worker nodes."""
    from leasebox.cli.installation import show_nodes

    show_nodes(_client().nodes(), is_json=json)


@app.command()
def queues(json: Json = False) -> None:
    """Show how much waits in each class of jobs."""
    from leasebox.cli.installation import show_queues

    show_queues(_client().queues(), is_json=json)


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Once, as JSON on stdout.")] = False,
) -> None:
    """Watch queues, nodes, sessions and jobs, each second anew; Ctrl-C ends it."""
    from leasebox.cli.top import show_top

    show_top(_client(), is_once=once, is_json=json)


@app.command()
def doctor(json: Json = False) -> None:
    """Check settings, Redis and this host; for each failure the one command that mends it."""
    from leasebox.cli.doctor import diagnose

    diagnose(is_json=json)


@app.command()
def config(json: Json = False) -> None:
    """Show every effective setting of client and API, and where it comes from; secrets are hidden."""
    from leasebox.cli.installation import show_config

    show_config(is_json=json)


@app.command()
def up() -> None:
    """Keep the embedded stack (private Valkey, one worker, the HTTP API) running in the foreground."""
    from leasebox.cli.stack import stay_up

    stay_up()


@app.command()
def down() -> None:
    """End the embedded stack and everything it started."""
    from leasebox.cli.stack import take_down

    take_down()


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    from leasebox import __version__
    from leasebox.cli.show import as_json, line
    from leasebox.contract import CONTRACT_VERSION

    if json:
        as_json({"version": __version__, "contract": CONTRACT_VERSION, "place": str(Path(__file__).parents[1])})
    else:
        line(__version__)
