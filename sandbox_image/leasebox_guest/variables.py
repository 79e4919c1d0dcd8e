"""What does an interpreter hold? Its variables with type and size; the text only of what cannot run code to show it."""

from __future__ import annotations

from typing import Any

MOST = 1000
_TEXT_LIMIT = 200
_SHOWN = (int, float, complex, bool, str, bytes, type(None))


def summary(namespace: dict[str, Any]) -> list[dict[str, object]]:
    """One entry for each variable of the user: `name`, `type`, and where they exist `length`, `shape`, `value`."""
    found = []
    for name, value in list(namespace.items()):
        if name.startswith("_") or type(value).__name__ == "module":
            continue
        found.append(_entry(name, value))
        if len(found) == MOST:
            break
    return found


def _entry(name: str, value: object) -> dict[str, object]:
    kind = type(value)
    entry: dict[str, object] = {"name": str(name)[:_TEXT_LIMIT], "type": str(kind.__qualname__)[:_TEXT_LIMIT]}
    if isinstance(value, type):
        return entry
    if kind in _SHOWN:  # exact builtins: no `__repr__` of the user's runs
        entry["value"] = _text(value)
    if isinstance(length := _try(len, value), int):
        entry["length"] = length
    shape = _try(lambda: getattr(value, "shape", None) if hasattr(kind, "shape") else None)
    if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape):
        entry["shape"] = [int(size) for size in shape]
    return entry


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 512:
        return f"{value.bit_length()} bits"
    if isinstance(value, str | bytes):
        value = value[:_TEXT_LIMIT]
    return repr(value)[:_TEXT_LIMIT]


def _try(call: Any, *args: object) -> object:
    try:
        return call(*args)
    except Exception:  # noqa: BLE001 (foreign code; then it has none)
        return None
