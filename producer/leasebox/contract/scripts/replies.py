"""How is a reply read? An array whose first item names the answer; the rest are its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

A = TypeVar("A")
Reader: TypeAlias = Callable[[Any], A]


def reader(kinds: Mapping[bytes, Callable[..., A]]) -> Reader[A]:
    """A parser that hands the fields of a reply to the maker that its first item names."""

    def _parse(reply: Any) -> A:
        return kinds[reply[0]](*reply[1:])

    return _parse


def text(value: bytes | None) -> str:
    """A text; '' for nil."""
    return value.decode() if value else ""


def maybe(value: bytes | None) -> str | None:
    """A text, or None for '' and nil."""
    return value.decode() if value else None


def number(value: bytes | None) -> float | None:
    """A number, or None for '' and nil."""
    return float(value) if value else None
