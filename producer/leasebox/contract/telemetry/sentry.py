"""What does a Sentry-like service get to know? That our machinery failed, where, and of which job; nothing else.

Every line of the log at `error` becomes an event: those say that an operator must look. User code that fails is a
value and is told at `info`, so it never does.

An event is put together here from what is known to be harmless, and nothing is scrubbed from it afterwards: the name
of the line, types of exceptions and the lines of code that they passed, ids. Not their texts: what an exception says
may quote a command, a spec, or what a guest has sent. Who needs them finds the line on the host by the job's id.
"""

import hashlib
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any

from structlog.typing import EventDict, WrappedLogger

from leasebox.contract.errors import ConfigError

if TYPE_CHECKING:
    import sentry_sdk

MOST_OF_A_KIND = 10
PER_S = 60.0
"""An outage fails the same way thousands of times; so many are told in so long."""
LAST_S = 2.0
"""What an ending process gives the last events."""
_TAGS = ("job_id", "trace_id", "request_id", "node")
_MAX_TAG = 128
_MAX_CHAIN = 8
_MAX_FRAMES = 64
_MAX_KINDS = 256
_LEVELS = ("error", "critical")
_NOT_OURS = ("sentry_sdk", "opentelemetry", "urllib3")
"""They speak of the services that watch us; an event for each would go in circles."""


def begin(dsn: str, *, environment: str | None, release: str, server: str) -> "Reporter":
    """Connect to the service; the library is loaded here and nowhere else.

    Raises:
        ConfigError: The DSN is none, or the library is not installed.
    """
    try:
        import sentry_sdk
        from sentry_sdk.utils import BadDsn
    except ImportError as exc:
        raise ConfigError("SENTRY_DSN needs sentry-sdk", hint="pip install sentry-sdk") from exc
    try:
        client = sentry_sdk.Client(
            dsn,
            environment=environment or "production",
            release=release,
            server_name=server,
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            include_local_variables=False,
            include_source_context=False,
            send_client_reports=False,
            max_breadcrumbs=0,
        )
    except BadDsn:
        raise ConfigError("SENTRY_DSN is not a DSN", hint="it looks like https://KEY@HOST/PROJECT") from None
    return Reporter(client)


class Reporter:
    """A processor of log lines that sends what an operator must look at; thread-safe."""

    def __init__(self, client: "sentry_sdk.Client") -> None:
        self._client = client
        self._sent: dict[object, deque[float]] = {}
        self._lock = threading.Lock()

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        """Look at a line, and give it on as it is."""
        if line.get("level") in _LEVELS and not str(line.get("logger", "")).startswith(_NOT_OURS):
            event = event_of(line)
            if self._is_wanted(event):
                self._client.capture_event(event)  # type: ignore[arg-type]
        return line

    def end(self) -> None:
        """Send the last, in bounded time."""
        self._client.close(timeout=LAST_S)

    def _is_wanted(self, event: Mapping[str, Any]) -> bool:
        kind = (event["message"], *(each["type"] for each in event["exception"]["values"]))
        now = time.monotonic()
        with self._lock:
            if len(self._sent) > _MAX_KINDS:
                self._sent.clear()
            times = self._sent.setdefault(kind, deque(maxlen=MOST_OF_A_KIND))
            if len(times) == MOST_OF_A_KIND and now - times[0] < PER_S:
                return False
            times.append(now)
            return True


def event_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The event for a line; pure."""
    tags = {name: str(line[name])[:_MAX_TAG] for name in _TAGS if line.get(name)}
    event: dict[str, Any] = {
        "level": "fatal" if line["level"] == "critical" else "error",
        "message": _name_of(line),
        "tags": tags,
        "exception": {"values": list(_chain(_exception_of(line)))},
    }
    if line.get("tenant"):
        event["user"] = {"id": tenant_hash(str(line["tenant"]))}
    if line.get("trace_id") and line.get("span_id"):
        event["contexts"] = {"trace": {"trace_id": line["trace_id"], "span_id": line["span_id"]}}
    return event


def tenant_hash(tenant: str) -> str:
    """A name that stays the same for a tenant and does not tell who it is to those who do not know the names."""
    return hashlib.sha256(f"leasebox tenant {tenant}".encode()).hexdigest()[:16]


def _name_of(line: Mapping[str, Any]) -> str:
    """Ours have constant names. Of another library's the pattern is taken: a text without one may hold anything."""
    record = line.get("_record")
    if record is None or record.name.startswith("leasebox"):
        return str(line["event"] if record is None else record.msg)
    return f"{record.name}: {record.msg}" if record.args else str(record.name)


def _exception_of(line: Mapping[str, Any]) -> BaseException | None:
    found = line.get("exc_info")
    if found is True:
        return sys.exception()
    error = found[1] if isinstance(found, tuple) else found
    return error if isinstance(error, BaseException) else None


def _chain(error: BaseException | None) -> Iterator[dict[str, Any]]:
    """The oldest cause first, as the service wants it."""
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < _MAX_CHAIN:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for each in reversed(found):
        kind = type(each)
        yield {
            "type": kind.__name__,
            "module": kind.__module__,
            "value": "",
            "stacktrace": {"frames": _frames(each.__traceback__)},
        }


def _frames(trace: TracebackType | None) -> list[dict[str, Any]]:
    found = [
        {
            "filename": frame.f_code.co_filename,
            "module": frame.f_globals.get("__name__"),
            "function": frame.f_code.co_name,
            "lineno": number,
            "in_app": str(frame.f_globals.get("__name__")).startswith("leasebox"),
        }
        for frame, number in walk_tb(trace)
    ]
    return found[-_MAX_FRAMES:]
