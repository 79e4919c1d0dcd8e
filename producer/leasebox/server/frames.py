"""How are events written into a stream? As frames of Server-Sent Events, or as lines of JSON."""

from collections.abc import Iterable
from typing import Any

from leasebox._json_line import json_line

SSE, LINES = "text/event-stream", "application/x-ndjson"


def frames(found: Iterable[dict[str, Any]]) -> str:
    """One for each object of `event_json`; for none a comment, which shows that the stream lives."""
    return "".join(map(_frame, found)) or ": still here\n\n"


def _frame(data: dict[str, Any]) -> str:
    rest = {name: value for name, value in data.items() if name != "id"}
    return f"id: {data['id']}\nevent: {data['type']}\ndata: {json_line(rest)}\n\n"


def lines(found: Iterable[dict[str, Any]]) -> str:
    """One for each."""
    return "".join(f"{json_line(data)}\n" for data in found)
