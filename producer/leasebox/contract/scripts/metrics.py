"""Which scripts carry measurements of a session's sandbox? measure, by who wants to know; measured, by its node."""

from __future__ import annotations

from typing import NamedTuple

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import answers
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, reader, text

FRESH_S = 0.25
KEPT_S = 60
"""A measurement that nobody asks for again goes."""


class Asked(NamedTuple):
    """The node was told; its answer is the first entry behind `after` in `keys.metrics`."""

    after: str


class Fresh(NamedTuple):
    """A measurement of a moment ago: when (unix seconds), and `SandboxMetrics` as JSON."""

    at: float
    json: str


class NoSandbox(NamedTuple):
    """There is nothing to measure."""


class Noted(NamedTuple):
    """Whoever asked can read it."""


MeasureAnswer = Asked | Fresh | NoSandbox
MeasuredAnswer = Noted | answers.Kept


def measure(keys: Keys, *, tenant: str, session: str, fresh_s: float = FRESH_S) -> Call[MeasureAnswer]:
    """Ask the session's node for a measurement, unless one is younger than `fresh_s`."""
    args = (keys.names, keys.line("", tenant, session), fresh_s)
    return Call("measure", (keys.session(tenant, session),), args, _measure_answer)


def measured(keys: Keys, *, line: str, sandbox: str, json: str) -> Call[MeasuredAnswer]:
    """Answer those who asked; `Kept`: the session has another sandbox by now. `sandbox` as the record names it."""
    return Call("measured", (keys.session_line(line),), (keys.names, line, sandbox, json, KEPT_S), _measured_answer)


_measure_answer: Reader[MeasureAnswer] = reader(
    {
        b"asked": lambda after: Asked(text(after)),
        b"fresh": lambda at, json: Fresh(float(at), text(json)),
        b"none": NoSandbox,
    }
)
_measured_answer: Reader[MeasuredAnswer] = reader({b"ok": Noted, b"kept": answers.Kept})
