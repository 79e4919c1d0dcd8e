"""Which names does an entry of a network list cover? Asked by clients early, by admission, and by the egress proxy."""

import re
from collections.abc import Iterable

DOMAIN = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+([a-z]{2,63}|xn--[a-z0-9-]{1,59})"
"""A full name in ASCII (IDNA names as `xn--`), lower case, without the dot at its end; no address looks like one."""
RULE = rf"^(\*\.)?{DOMAIN}$"

_NAME = re.compile(DOMAIN)
_MAX_CHARACTERS = 253


def is_name(text: str) -> bool:
    """Whether `text` is one full domain name, and neither an address nor a pattern."""
    return len(text) <= _MAX_CHARACTERS and _NAME.fullmatch(text) is not None


def covers(rules: Iterable[str], asked: str) -> bool:
    """Whether one of `rules` allows `asked`, a name or itself a `*.` rule.

    `*.example.org` covers every name below example.org at any depth, and not example.org itself.
    """
    return any(asked == rule or (rule.startswith("*.") and asked.endswith(rule[1:])) for rule in rules)
