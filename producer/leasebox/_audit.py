"""How is the audit chain read: its newest entries, those behind one, and all of them to be verified?"""

import json
from collections.abc import Sequence
from typing import Any

from leasebox._audit_check import Ends, Report, Verifier
from leasebox._reads import Flow, Query, fields_of, text_of
from leasebox.contract.audit import KEEP, START, Head, Record, Sealed, Signer
from leasebox.contract.errors import InvalidSpec
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import audit

MAX_PAGE = 1000
_LOOKS = 5


def write(keys: Keys, signer: Signer, records: Sequence[Record]) -> Flow[Head]:
    """Put records into the chain, at once."""
    return (yield from audit.written(keys, signer, records, START))


def newest(keys: Keys, count: int) -> Flow[list[dict[str, Any]]]:
    """The newest entries, the oldest of them first, each as its text says and with its hash."""
    command = ("XREVRANGE", keys.audit(), "+", "-", "COUNT", count)
    found: list[Sealed] = yield Query((command,), lambda replies: _sealed(replies[0]))
    return [_shown(entry) for entry in reversed(found)]


def after(keys: Keys, n: int, count: int) -> Flow[list[dict[str, Any]]]:
    """The entries behind the one of this number."""
    return [_shown(entry) for entry in (yield _page(keys, n, count))]


def verify(keys: Keys, signer: Signer, *, noted: Head | None = None, keep: int = KEEP) -> Flow[Report]:
    """Look at all entries up to the last one of now.

    Args:
        noted: An entry that somebody noted elsewhere.
        keep: How many entries stay in Redis.
    """
    ends, page = yield from _begin(keys)
    verifier = Verifier(signer, ends, noted=noted, keep=keep)
    while page:
        verifier.take(page)
        page = yield _page(keys, page[-1].n, MAX_PAGE)
    return verifier.end()


def noted_head(text: str) -> Head:
    """What `verify` told as the last entry: `N:HASH`.

    Raises:
        InvalidSpec: It is not of this form.
    """
    n, _, digest = text.partition(":")
    if not n.isdecimal() or not digest:
        raise InvalidSpec(f"{text!r} is not NUMBER:HASH", hint="`leasebox audit verify` prints it")
    return Head(int(n), digest)


def _begin(keys: Keys) -> Flow[tuple[Ends, list[Sealed]]]:
    """The ends and the first entries, of one moment: between two commands others may cut entries off."""
    ends, page = yield _ends(keys)
    for _ in range(_LOOKS):
        if not page or page[0].n <= ends.cut.n + 1:
            break
        ends, page = yield _ends(keys)
    return ends, page


def _ends(keys: Keys) -> Query[tuple[Ends, list[Sealed]]]:
    def _parse(replies: list[Any]) -> tuple[Ends, list[Sealed]]:
        top, found, entries = _sealed(replies[0]), fields_of(replies[1]), _sealed(replies[2])
        head = Head(int(found.get("n", 0)), found.get("hash", ""))
        cut = Head(int(found.get("cut_n", 0)), found.get("cut_hash", ""))
        return Ends(head, cut, top[0].n if top else 0), entries

    # In this order: what is read as the last entry was in the head before that is read.
    last = ("XREVRANGE", keys.audit(), "+", "-", "COUNT", 1)
    first = ("XRANGE", keys.audit(), "-", "+", "COUNT", MAX_PAGE)
    return Query((last, ("HGETALL", keys.audit_head()), first), _parse)


def _page(keys: Keys, behind: int, count: int) -> Query[list[Sealed]]:
    command = ("XRANGE", keys.audit(), f"({behind}-0", "+", "COUNT", count)
    return Query((command,), lambda replies: _sealed(replies[0]))


def _sealed(reply: Any) -> list[Sealed]:
    made = []
    for place, flat in reply or ():
        found = fields_of(flat)
        made.append(Sealed(int(text_of(place).partition("-")[0]), found.get("json", ""), found.get("hash", "")))
    return made


def _shown(entry: Sealed) -> dict[str, Any]:
    try:
        found = json.loads(entry.text)
    except ValueError:
        found = {"unreadable": entry.text}
    return {**(found if isinstance(found, dict) else {}), "n": entry.n, "hash": entry.hash}
