"""How sizes and durations are written in settings and profiles ("512MiB", "30s")."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_bytes(value: object) -> object:
    """Turn "512MiB" into 536870912; anything but text is returned as it is.

    Raises:
        ValueError: The text is not a number with one of B KB MB GB KiB MiB GiB.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].upper() not in _BYTES:
        raise ValueError(f"not a size: {value!r} (write 65536, 64KiB or 1.5GiB)")
    return int(float(match[1]) * _BYTES[match[2].upper()])


def parse_seconds(value: object) -> object:
    """Turn "30s" or "1h" into seconds; anything but text is returned as it is.

    Raises:
        ValueError: The text is not a number with one of ms s m h d.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"not a duration: {value!r} (write 30, 30s, 5m or 1h)")
    return float(match[1]) * _SECONDS[match[2]]


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
