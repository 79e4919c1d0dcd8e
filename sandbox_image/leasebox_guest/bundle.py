"""How does a value look to whoever shows it? A MIME bundle: text/plain always, and what its type offers beside it.

The methods are looked up on the type, so that an object whose `__getattr__` answers everything is no surprise; one that
fails is passed by. Only a failing `__repr__` is the cell's own error.
"""

from __future__ import annotations

import base64
import json

TEXT_LIMIT = 64 << 10
"""Characters of a text/plain."""
_METHODS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("application/json", "_repr_json_"),
)
_ONE_LINE = 78
_PLAIN_CONTAINERS = (dict, list, tuple, set, frozenset)


def bundle_of(value: object) -> dict[str, object]:
    """The bundle of a value; binary parts as base64 text.

    Raises:
        Exception: Whatever the value's own `__repr__` raises.
    """
    bundle: dict[str, object] = {}
    given = _call(value, "_repr_mimebundle_")
    if isinstance(given, tuple) and given:
        given = given[0]  # (data, metadata)
    if isinstance(given, dict):
        bundle = parts_of(given)
    for mime, method in _METHODS:
        if mime not in bundle and (content := _content(mime, _call(value, method))) is not None:
            bundle[mime] = content
    if "text/plain" not in bundle:
        bundle["text/plain"] = _plain(value)
    return bundle


def parts_of(given: dict[object, object]) -> dict[str, object]:
    """A bundle that the cell has made itself, as JSON can carry it."""
    parts = ((mime, _content(mime, part)) for mime, part in given.items() if isinstance(mime, str))
    return {mime: part for mime, part in parts if part is not None}


def cut(text: str) -> str:
    """At most `TEXT_LIMIT` characters, and how many are missing."""
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}\n... {len(text) - TEXT_LIMIT} characters left out"


def encoded(bundle: dict[str, object]) -> dict[str, bytes]:
    """The parts of a bundle, each as JSON; what cannot be written as JSON is left out."""
    parts = {}
    for mime, part in bundle.items():
        try:
            parts[mime] = json.dumps(part, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            continue
    return parts


def _plain(value: object) -> str:
    if type(value) not in _PLAIN_CONTAINERS:
        return repr(value)
    if len(text := repr(value)) <= _ONE_LINE:
        return text
    if len(text) > TEXT_LIMIT:
        return text  # it is cut anyway, and pprint takes its time
    import pprint

    return pprint.pformat(value, sort_dicts=False)


def _call(value: object, name: str) -> object:
    method = getattr(type(value), name, None)
    if not callable(method) or isinstance(value, type):
        return None
    try:
        shown: object = method(value)
    except Exception:  # noqa: BLE001 (foreign code: a form that fails is one less)
        return None
    return shown


def _content(mime: str, part: object) -> object:
    """A part as JSON can carry it; None when it is nothing."""
    if isinstance(part, tuple) and part:
        part = part[0]  # (data, metadata)
    if part is None:
        return None
    if isinstance(part, bytes | bytearray):
        return base64.b64encode(part).decode()
    return part if isinstance(part, str) or mime.endswith("json") else str(part)
