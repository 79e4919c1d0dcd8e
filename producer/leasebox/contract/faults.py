"""What is told of a wrong field? Where it is and what it may be, in words of ours; never its value: it may be secret.

Requests, settings and profiles are all validated by pydantic, whose wording is for programmers of pydantic models.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from leasebox.contract.names import IN_WORDS
from leasebox.contract.sizes import quantity_text

MAX_TOLD = 8
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_ONE_OF = re.compile(r"\^\(([\w|-]+)\)\$")
_LONGEST_NAME = 64
# What pydantic puts into the place of a fault and is no part of the request: the end of a bad key, the form of stdin.
_KEY = "[key]"
_FORM = re.compile(r"str|.*FileContent.*")

_KINDS = {
    "extra_forbidden": "unknown field",
    "missing": "is needed",
    "json_invalid": "is not JSON",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dataclass_type": "must be an object",
}
_BOUNDS = {
    "greater_than": ("gt", "must be above"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be below"),
    "less_than_equal": ("le", "must be at most"),
}
_LENGTHS = {
    "string_too_short": ("min_length", "at least", "character"),
    "string_too_long": ("max_length", "at most", "character"),
    "too_short": ("min_length", "at least", "entry"),
    "too_long": ("max_length", "at most", "entry"),
}


def faults_text(faults: Sequence[ErrorDetails]) -> str:
    """All wrong fields (the first eight) as "field: what it may be", each once."""
    told = (f"{where}: {what}" if (where := place(f["loc"])) else what for f in meant(faults) if (what := told_of(f)))
    return "; ".join(list(dict.fromkeys(told))[:MAX_TOLD])


def meant(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The faults without those of a form that was not meant: an object as stdin is told nothing of text."""
    return [f for f in faults if not (f["loc"] == ("stdin", "str") and isinstance(f["input"], Mapping))]


def place(path: Sequence[int | str]) -> str:
    """Where a fault is, as one would write it: `limits.pids`, `secrets.0`, `files['../x']`."""
    shown = ""
    for part in fields_of(path):
        name = str(part)
        if _PLAIN.fullmatch(name):
            shown += f".{name}" if shown else name
        else:
            # Quoted and cut, so that what a stranger made up cannot pass for our words or steer a terminal.
            shown += f"[{name[:_LONGEST_NAME]!r}]"
    return shown


def fields_of(path: Sequence[int | str]) -> list[int | str]:
    """The parts of a fault's place that are in the request itself."""
    has_form = len(path) > 1 and path[0] == "stdin" and _FORM.fullmatch(str(path[1])) is not None
    return [part for number, part in enumerate(path) if part != _KEY and not (has_form and number == 1)]


def told_of(fault: ErrorDetails) -> str:
    """What a wrong field may be, without its name."""
    kind, given = fault["type"], fault.get("ctx", {})
    if fields_of(fault["loc"]) == ["stdin"] and kind in ("string_type", "model_type", "model_attributes_type"):
        return "must be text, or an object with text, base64 or blob"
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{words} {quantity_text(_name_of(fault['loc']), given[bound])}"
    if kind in _LENGTHS:
        return _length(kind, given)
    if kind == "string_pattern_mismatch":
        return _pattern(given["pattern"])
    if kind in ("enum", "literal_error"):
        return f"must be {given['expected']}"
    if isinstance(given.get("error"), UnicodeError):
        return _KINDS["string_unicode"]
    return str(given.get("error", "")) or fault["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)


def _name_of(path: Sequence[int | str]) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _length(kind: str, given: Mapping[str, Any]) -> str:
    bound, words, unit = _LENGTHS[kind]
    number = given[bound]
    several = "entries" if unit == "entry" else f"{unit}s"
    return f"must have {words} {number} {unit if number == 1 else several}"


def _pattern(pattern: str) -> str:
    choice = _ONE_OF.fullmatch(pattern)
    if choice is not None:
        return f"must be one of {', '.join(choice[1].split('|'))}"
    return f"must be {IN_WORDS[pattern]}" if pattern in IN_WORDS else f"must match {pattern}"
