"""Under which span does a client hand its jobs in? One around the whole request, which costs a microsecond when off."""

from typing import TypeVar

from leasebox._backend import Flow
from leasebox._flows import Submitted
from leasebox.contract.telemetry import traces

A = TypeVar("A")


def submitting(flow: Flow[A], *, session: str | None = None) -> Flow[A]:
    """Carry a submit out under its span, whose context goes into the records or the request."""
    with traces.span("leasebox.submit", kind="producer", values={traces.SESSION: session}) as span:
        found = yield from flow
        if isinstance(found, Submitted):
            span.note({traces.JOB: found.job})
        elif isinstance(found, list):
            span.note({traces.COUNT: len(found)})
        return found
