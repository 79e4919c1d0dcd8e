"""How an event looks as JSON: bytes as `text`, or as `base64` when they are not UTF-8 on their own."""

import base64
from dataclasses import fields
from typing import Any

from leasebox.contract.events import Event, Finished, Stderr, Stdout


def event_json(event: Event) -> dict[str, Any]:
    """Give the event as an object with `id`, `at`, `type` and its own fields."""
    data: dict[str, Any] = {"id": event.id, "at": event.at, "type": event.type}
    if isinstance(event, Stdout | Stderr):
        return data | _bytes(event.data)
    if isinstance(event, Finished):
        return data | {"result": event.result.model_dump(mode="json")}
    return data | {field.name: getattr(event, field.name) for field in fields(event) if field.name not in data}


def _bytes(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
