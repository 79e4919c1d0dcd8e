"""Which host does a request ask for? Pure: CONNECT with a full name, port 443, and nothing else.

Plain http is not offered: without TLS nobody can say that the host at the other end is the one that was named.
"""

import re
from collections.abc import Iterable

from leasebox.contract.domains import covers, is_name
from leasebox_worker.egress.refusal import Refusal, RefusedError

MAX_HEAD_BYTES = 8192
PORTS = frozenset({443})

_METHOD = re.compile(rb"([A-Z]{1,16}) ")
_CONNECT = re.compile(rb"CONNECT ([!-~]{1,300}):([0-9]{1,5}) HTTP/1\.[01]\r\n")


def wanted(head: bytes, rules: Iterable[str]) -> str:
    """The name that a request head (up to and with its empty line) asks for, in lower case.

    Raises:
        RefusedError: Another method or port, no name, or one that `rules` do not cover.
    """
    found = _CONNECT.match(head)
    if found is None:
        method = _METHOD.match(head)
        is_other = method is not None and method[1] != b"CONNECT"
        raise RefusedError(Refusal.METHOD if is_other else Refusal.SYNTAX, _first_line(head))
    name = found[1].decode("ascii").lower()
    if int(found[2]) not in PORTS:
        raise RefusedError(Refusal.PORT, f"{name}:{int(found[2])}")
    if not is_name(name) or not covers(rules, name):
        raise RefusedError(Refusal.NAME, name)
    return name


def _first_line(head: bytes) -> str:
    return head.split(b"\r\n", 1)[0][:300].decode("ascii", errors="backslashreplace")
