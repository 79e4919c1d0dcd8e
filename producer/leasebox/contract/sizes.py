"""How are sizes and durations written, in settings and profiles ("512MiB", "30s") and to people ("512 MiB")?"""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_MAX_BYTES = 1 << 63
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_bytes(value: object) -> object:
    """Turn "512MiB" into 536870912; anything but text is returned as it is.

    Raises:
        ValueError: The text is not a number with one of B KB MB GB KiB MiB GiB, or is above 8 EiB.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].upper() not in _BYTES:
        raise ValueError(f"not a size: {value!r} (write 65536, 64KiB or 1.5GiB)")
    size = float(match[1]) * _BYTES[match[2].upper()]
    if size >= _MAX_BYTES:
        raise ValueError("a size is below 8 EiB")
    return int(size)


def parse_seconds(value: object) -> object:
    """Turn "30s" or "1h" into seconds; anything but text is returned as it is.

    Raises:
        ValueError: The text is not a number with one of ms s m h d, or nobody lives as long.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"not a duration: {value!r} (write 30, 30s, 5m or 1h)")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not math.isfinite(seconds):
        raise ValueError("not a duration: too long a number")
    return seconds


def size_text(size_bytes: float) -> str:
    """A size for people, in the greatest unit of which it has one: "14.2 MiB", "512 MiB"."""
    size, units = float(size_bytes), ["EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "B"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop()
    return f"{size:.1f}".removesuffix(".0") + f" {units[-1]}"


def duration_text(seconds: float) -> str:
    """A duration as people say it, in its greatest whole unit: "90 seconds", "30 minutes", "1 day"."""
    for unit, size in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= size and seconds % size == 0:
            return _counted(seconds / size, unit)
    return _counted(seconds, "second")


def _counted(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def quantity_text(name: str, value: float) -> str:
    """A value or bound of a field in the unit that its name carries: `_bytes`, `_s`, or none."""
    if name.endswith("_bytes"):
        return size_text(value)
    if name.endswith("_s") and value > 0:
        return duration_text(value)
    return f"{value:g}"


def above_text(name: str, asked: float, bound: float) -> str:
    """That a value of a field is above its bound: "1 GiB is above 512 MiB"; exact where the words would be equal."""
    shown, most = quantity_text(name, asked), quantity_text(name, bound)
    return f"{shown} is above {most}" if shown != most else f"{asked} is above {bound}"


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
