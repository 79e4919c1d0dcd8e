"""What is a call of a script, and what is its text?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from msgspec import Struct

A = TypeVar("A", covariant=True)

_PARTS: dict[str, tuple[str, ...]] = {
    "submit": ("prelude", "ending", "quota"),
    "open": ("prelude", "quota"),
    "settle": ("prelude", "ending", "output"),
    "emit": ("prelude", "output"),
    **dict.fromkeys(("bind", "start", "feed", "taken", "touch", "pool_push", "pool_drop", "publish"), ("prelude",)),
    **dict.fromkeys(("erase", "key_create", "key_rotate", "key_revoke"), ("prelude",)),
    **dict.fromkeys(("measure", "measured", "audit", "webhook_replay", "webhook_test"), ("prelude",)),
    **dict.fromkeys(("why", "overview", "census"), ("prelude", "shown")),
    **dict.fromkeys(("webhook_claim", "webhook_settle"), ("prelude", "outbox")),
}


class Call(Struct, Generic[A], frozen=True):
    """One call of a script, not sent yet.

    Args:
        script: Name of the `.lua` file.
        parse: Makes the typed answer of Redis' reply.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[bytes | str | int | float, ...]
    parse: Callable[[Any], A]

    @property
    def command(self) -> tuple[Any, ...]:
        """The arguments of EVALSHA."""
        return (sha(self.script), len(self.keys), *self.keys, *self.args)


@cache
def text(script: str) -> str:
    """The whole text that Redis gets: the script's shebang, the parts it needs, then itself."""
    body = _read(script)
    shebang = "#!lua"
    if body.startswith("#!"):
        shebang, body = body.split("\n", 1)
    parts = _PARTS.get(script, ("prelude", "ending"))
    return "\n".join([shebang, *map(_read, parts), body])


@cache
def sha(script: str) -> str:
    """Redis' name for `text(script)`."""
    return hashlib.sha1(text(script).encode(), usedforsecurity=False).hexdigest()


def _read(name: str) -> str:
    return (files(__package__) / f"{name}.lua").read_text(encoding="utf-8")
