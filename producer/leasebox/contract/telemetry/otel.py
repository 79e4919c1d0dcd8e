"""How are spans made and sent? By OpenTelemetry's SDK; loaded by `traces` alone, where tracing is on."""

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from leasebox.contract.telemetry.traces import MAX_TEXT, Values

LAST_S = 3.0
"""What an ending process gives a receiver that does not answer; the SDK itself would wait for half a minute."""
_PROPAGATOR = TraceContextTextMapPropagator()
_LOCK = threading.Lock()
_own: list[TracerProvider] = []


class Made:
    """A span of OpenTelemetry's, as `traces.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    def note(self, values: Values) -> None:
        """Set attributes, each of bounded size."""
        self.span.set_attributes(_bounded(values))

    def failed(self) -> None:
        """Set its status, without a text."""
        self.span.set_status(Status(StatusCode.ERROR))


class Tracing:
    """Makes spans by one provider."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("leasebox", version("leasebox"))

    @contextmanager
    def span(self, name: str, kind: str, parent: str | None, values: Values) -> Iterator[Made]:
        """As `traces.span`."""
        begun = self._tracer.start_span(
            name, _context(parent), kind=SpanKind[kind.upper()], attributes=_bounded(values), record_exception=False
        )
        made = Made(begun)
        # Neither records the exception: its text may quote anything.
        with trace.use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield made
            except Exception:
                made.failed()
                raise

    def past(self, name: str, began_at: float, ended_at: float, parent: str | None, values: Values) -> None:
        """As `traces.past`."""
        made = self._tracer.start_span(
            name, _context(parent), attributes=_bounded(values), start_time=int(began_at * 1e9)
        )
        made.end(int(ended_at * 1e9))

    def note(self, values: Values, name: str | None) -> None:
        """As `traces.note`."""
        span = trace.get_current_span()
        span.set_attributes(_bounded(values))
        if name is not None:
            span.update_name(name[:MAX_TEXT])

    def traceparent(self) -> str | None:
        """The current span's."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")


def tracing(service: str | None) -> Tracing | None:
    """By the application's provider, if it has one; else by our own, if `service` is given."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        return _by(provider)
    return None if service is None else _by(_our_provider(service))


@lru_cache(maxsize=2)
def _by(provider: TracerProvider) -> Tracing:
    return Tracing(provider)


def end() -> None:
    """Send what our own provider has gathered, in bounded time."""
    with _LOCK:
        ending = [threading.Thread(target=provider.shutdown, daemon=True) for provider in _own]
        _own.clear()
    for thread in ending:
        thread.start()
        thread.join(LAST_S)


def _our_provider(service: str) -> TracerProvider:
    with _LOCK:
        if not _own:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            found = Resource.create()  # of OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
            if str(found.attributes.get(SERVICE_NAME)).startswith("unknown_service"):
                found = found.merge(Resource({SERVICE_NAME: service, SERVICE_VERSION: version("leasebox")}))
            made = TracerProvider(resource=found, shutdown_on_exit=False)
            made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            _own.append(made)
            atexit.register(end)
        return _own[0]


def _context(parent: str | None) -> Context | None:
    return None if parent is None else _PROPAGATOR.extract({"traceparent": parent}, Context())


def _bounded(values: Values) -> dict[str, str | int | float | bool]:
    return {
        name: value[:MAX_TEXT] if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }
