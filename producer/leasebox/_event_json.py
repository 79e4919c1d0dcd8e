"""How an event looks as JSON: bytes as `text`, or as `base64` when they are not UTF-8 on their own.

`decoded` is there when the characters that an event completes are not those of its bytes alone: one was split between
two events, or never completed.
"""

import base64
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from leasebox.contract.events import BY_TYPE, Event, Finished, Stderr, Stdout
from leasebox.contract.result import Result


def event_json(event: Event) -> dict[str, Any]:
    """Give the event as an object with `id`, `at`, `type` and its own fields."""
    data: dict[str, Any] = {"id": event.id, "at": event.at, "type": event.type}
    if isinstance(event, Stdout | Stderr):
        return data | _bytes(event)
    if isinstance(event, Finished):
        return data | {"result": event.result.model_dump(mode="json")}
    return data | {field.name: getattr(event, field.name) for field in fields(event) if field.name not in data}


def event_of(data: Mapping[str, Any]) -> Event | None:
    """The event that `event_json` wrote; None for a type that only a newer version knows."""
    kind = BY_TYPE.get(data["type"])
    if kind is None:
        return None
    name, at = data["id"], data["at"]
    if kind is Finished:
        return Finished(name, at, Result.model_validate(data["result"]))
    if kind in (Stdout, Stderr):
        raw = base64.b64decode(data["base64"]) if "base64" in data else data["text"].encode()
        return kind(name, at, raw, data.get("decoded", data.get("text", "")))
    given: dict[str, Any] = {
        field.name: data.get(field.name) for field in fields(kind) if field.name not in ("id", "at")
    }
    return kind(name, at, **given)


def _bytes(event: Stdout | Stderr) -> dict[str, str]:
    try:
        text = event.data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(event.data).decode(), "decoded": event.text}
    return {"text": text} if text == event.text else {"text": text, "decoded": event.text}
