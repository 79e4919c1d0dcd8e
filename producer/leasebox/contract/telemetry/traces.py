"""Which spans does a job's way leave? This asks; `otel` answers where tracing is on, and where it is off nobody does.

| span | by | parent |
|---|---|---|
| `leasebox.submit` | a client | the application's, if it traces |
| `METHOD route` | the API | `traceparent` of the request |
| `leasebox.queue` | the worker that claims the job: from submit to claim | who submitted, by the record |
| `leasebox.job` | that worker: from claim to end, one for each attempt | the same |
| `leasebox.lease` `.start` `.run` `.settle` | its phases | `leasebox.job` |
| `leasebox.webhook` | the worker that delivers: one for each attempt | who submitted, by the record |

It is on in an application that traces already, by that application's own means; else where the standard variables name
a receiver. A process that does not trace hands a context on all the same. Spans have ids, names and numbers of bounded
size: never code, output, an environment, or the text of an error.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from leasebox.contract.telemetry.otel import Tracing

JOB: Final = "leasebox.job.id"
TENANT: Final = "leasebox.tenant"
SESSION: Final = "leasebox.session"
PROFILE: Final = "leasebox.profile"
NODE: Final = "leasebox.node"
ATTEMPT: Final = "leasebox.attempt"
OUTCOME: Final = "leasebox.outcome"
COUNT: Final = "leasebox.jobs"
REQUEST: Final = "leasebox.request.id"
MAX_TEXT: Final = 128
RECEIVERS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Value = str | int | float | bool | None
Values = Mapping[str, Value]
# Source: W3C Trace Context, 3.2; a later version may have more behind it, which is not for us.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_LENGTH = 55
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"

_given: ContextVar[str | None] = ContextVar("leasebox_traceparent", default=None)
_service: list[str] = []
"""Who we are, once traces are wanted of this process."""


class Span(Protocol):
    """A span that has begun."""

    def note(self, values: Values) -> None:
        """Say more of it; None is left out, texts are cut at 128 characters."""

    def failed(self) -> None:
        """Our machinery failed in it."""


class _Off:
    def note(self, values: Values) -> None:
        """Nobody listens."""

    def failed(self) -> None:
        """Nobody listens."""


_OFF = _Off()


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables name a receiver and do not turn tracing off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_off = is_off or environment.get("OTEL_TRACES_EXPORTER", "").lower() == "none"
    return not is_off and any(environment.get(name) for name in RECEIVERS)


def want(service: str) -> bool:
    """Trace from now on, as `service` unless `OTEL_SERVICE_NAME` says otherwise; the SDK is loaded by the first span.

    Who asks first decides the name. False: `leasebox[otel]` is not installed, and nothing is traced.
    """
    try:
        is_there = find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        is_there = False
    if is_there and not _service:
        _service.append(service)
    return is_there


def _tracing() -> "Tracing | None":
    # An application that traces has loaded the SDK; without it and without our own wish nothing is loaded.
    if not _service and "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from leasebox.contract.telemetry import otel

    return otel.tracing(_service[0] if _service else None)


@contextmanager
def span(name: str, kind: str = "internal", parent: str | None = None, values: Values | None = None) -> Iterator[Span]:
    """A span around a block; an exception marks it as failed, without its text.

    Args:
        kind: internal, server, client, producer or consumer.
        parent: The traceparent under which it stands, if that is not the current span.
    """
    token = _given.set(parent) if parent is not None else None
    try:
        tracing = _tracing()
        if tracing is None:
            yield _OFF
        else:
            with tracing.span(name, kind, parent, values or {}) as made:
                yield made
    finally:
        if token is not None:
            _given.reset(token)


def past(name: str, began_at: float, ended_at: float, parent: str | None = None, values: Values | None = None) -> None:
    """A span that is over, in unix seconds; below the current one unless a parent is named."""
    if (tracing := _tracing()) is not None:
        tracing.past(name, began_at, max(began_at, ended_at), parent, values or {})


def note(values: Values, *, name: str | None = None) -> None:
    """Say more of the current span, and perhaps call it otherwise."""
    if (tracing := _tracing()) is not None:
        tracing.note(values, name)


def traceparent() -> str | None:
    """The context to hand on: of the current span, else the one that was given with what is being done."""
    tracing = _tracing()
    return (tracing.traceparent() if tracing is not None else None) or _given.get()


def headers() -> dict[str, str]:
    """The same, as headers of a request."""
    found = traceparent()
    return {} if found is None else {"traceparent": found}


def checked(text: str | None) -> str | None:
    """What a stranger gave as a traceparent, if it is one; W3C says to begin anew otherwise."""
    if text is None or not _TRACEPARENT.fullmatch(text) or (text.startswith("00") and len(text) != _LENGTH):
        return None
    return f"00{text[2:_LENGTH]}"


def ids() -> dict[str, str]:
    """What lines of the log say of the current context: `trace_id` and `span_id`; nothing without one."""
    found = _TRACEPARENT.fullmatch(traceparent() or "")
    return {} if found is None else {"trace_id": found[1], "span_id": found[2]}


def end() -> None:
    """Send the last, in bounded time."""
    if "leasebox.contract.telemetry.otel" in sys.modules:
        from leasebox.contract.telemetry import otel

        otel.end()
