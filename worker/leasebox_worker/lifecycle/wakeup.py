"""When was a wake-up sent? Its delivery tag `<job>.<stamp>` says."""

import json


def stamp_of(message: bytes) -> float | None:
    """The stamp of a message as it lies in the queue; None if it is not one of ours."""
    try:
        tag = json.loads(message)["properties"]["delivery_tag"]
        return float(tag.partition(".")[2])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
