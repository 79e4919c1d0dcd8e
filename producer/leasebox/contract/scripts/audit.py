"""How do records get into the audit chain? Script audit, again and again until nobody else was faster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from leasebox.contract.audit import KEEP, Head, Record, Sealed, Signer
from leasebox.contract.keys import Keys
from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.replies import Reader, reader, text


class Appended(NamedTuple):
    """They are in the chain, now or since an earlier call."""


class Moved(NamedTuple):
    """Nothing was written: the chain ends elsewhere."""

    head: Head


AppendAnswer = Appended | Moved


def append(keys: Keys, *, head: Head, entries: Sequence[Sealed], keep: int = KEEP) -> Call[AppendAnswer]:
    """Put entries behind `head`, if the chain ends there; at most `keep` of them."""
    args = [part for entry in entries for part in (entry.text, entry.hash)]
    places = (keys.audit(), keys.audit_head())
    return Call("audit", places, (keys.names, head.n, head.hash, keep, *args), _answer)


def written(
    keys: Keys, signer: Signer, records: Sequence[Record], head: Head, *, keep: int = KEEP
) -> Generator[Call[AppendAnswer], AppendAnswer, Head]:
    """Write records behind whatever the chain ends with; gives its new end.

    After a failure call it again with the same records and the same `head`: what was written is not written twice.

    Args:
        head: Where the chain ended when the caller last knew; `START` if it does not.
    """
    while True:
        entries = signer.chained(head, records)
        answer = yield append(keys, head=head, entries=entries, keep=keep)
        if isinstance(answer, Appended):
            return Head(entries[-1].n, entries[-1].hash)
        head = answer.head


_answer: Reader[AppendAnswer] = reader(
    {b"ok": Appended, b"moved": lambda n, digest: Moved(Head(int(n), text(digest)))},
)
