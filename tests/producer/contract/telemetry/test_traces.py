"""When is a job traced, what is handed on, and what does it cost where nobody traces?"""

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.producer.contract.telemetry.receivers import receiving, spans

from leasebox.contract.telemetry import traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ran(program: str, **environment: str) -> Any:
    """What a program prints as JSON."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], expected: bool) -> None:
    assert traces.wanted(environment) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PARENT, PARENT),
        (f"01{PARENT[2:]}-more", PARENT),  # of a later version, read as far as ours goes
        (None, None),
        ("", None),
        (f"{PARENT}-more", None),
        (f"ff{PARENT[2:]}", None),
        (PARENT.upper(), None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", None),
        (f"{PARENT}\n", None),
        ("x" * 1_000_000, None),
    ],
)
def test_a_strangers_context_is_taken_only_if_it_is_one(given: str | None, expected: str | None) -> None:
    assert traces.checked(given) == expected


def test_a_process_that_does_not_trace_hands_on_what_it_was_given() -> None:
    assert (traces.traceparent(), traces.ids(), traces.headers()) == (None, {}, {})
    with traces.span("a", parent=PARENT) as span:
        span.note({"n": 1})
        with traces.span("b"):
            assert traces.traceparent() == PARENT
        assert traces.ids() == {"trace_id": PARENT[3:35], "span_id": PARENT[36:52]}
        assert traces.headers() == {"traceparent": PARENT}
    assert traces.traceparent() is None


def test_a_client_loads_nothing_of_it_unless_it_is_asked_for() -> None:
    program = """
import json, sys
from leasebox import Client
from leasebox._traced import submitting
from leasebox.contract.telemetry import traces

client = Client("redis://127.0.0.1:1")
with traces.span("a"):
    assert traces.traceparent() is None
# redis-py loads OpenTelemetry's metrics by itself, where they are installed.
heavy = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "sentry_sdk", "structlog")
print(json.dumps([name for name in sys.modules if name.startswith(heavy)]))
"""
    assert ran(program) == []


SPANS = """
import json
from leasebox.contract.telemetry import traces

{begin}
with traces.span("outer", values={{"long": "x" * 1000, "none": None}}):
    try:
        with traces.span("inner", kind="client"):
            raise ValueError("the text itself")
    except ValueError:
        pass
    traces.past("past", 1.0, 2.0, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
traces.end()
print(json.dumps(wanted))
"""
OURS = "wanted = traces.want('leasebox')"
THEIRS = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
wanted = None
"""


@pytest.mark.slow
@pytest.mark.parametrize("begin", [OURS, THEIRS], ids=["own", "of the application"])
def test_spans_reach_the_receiver_bounded_and_without_the_text_of_an_error(begin: str) -> None:
    with receiving() as receiver:
        told = ran(SPANS.format(begin=begin), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_SERVICE_NAME="app")

    found = {span.name: span for span in spans(receiver)}
    assert told is (True if begin is OURS else None)
    assert receiver.paths[0] == "/v1/traces"
    assert set(found) == {"outer", "inner", "past"}
    assert {span.service for span in found.values()} == {"app"}
    assert (found["inner"].parent, found["inner"].trace) == (found["outer"].id, found["outer"].trace)
    assert (found["inner"].status, found["inner"].events, found["inner"].kind) == (2, 0, 3)
    assert found["outer"].attributes == {"long": "x" * traces.MAX_TEXT}
    assert (found["past"].trace, found["past"].parent) == (PARENT[3:35], PARENT[36:52])
    assert (found["past"].began_ns, found["past"].ended_ns) == (10**9, 2 * 10**9)
    assert not any(b"itself" in body for body in receiver.bodies)


@pytest.mark.slow
def test_a_receiver_that_is_not_there_holds_up_an_ending_process_for_seconds_only() -> None:
    program = SPANS.format(begin=f"import time; {OURS}").replace(
        "traces.end()\nprint(json.dumps(wanted))", "began = time.time(); traces.end(); print(time.time() - began)"
    )

    # Left to itself the SDK tries for ten seconds and more.
    assert ran(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") < 8
