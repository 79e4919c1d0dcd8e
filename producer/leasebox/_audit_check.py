"""Does a chain still hold what was written? Pure: from entries as Redis has them to faults, each with its entry."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from leasebox.contract.audit import KEEP, START, Head, Sealed, Signer

MAX_TOLD = 100
_ALTERNATIVES = 8  # so that one fault does not make the next entry look wrong, and many cost no more than a few


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written.

    Attributes:
        n: The entry, or the first of several.
        kind: `changed`, `removed`, `moved`, `head`, `unsigned`, `unknown_key` or `rewritten`.
    """

    n: int
    kind: str
    detail: str


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        first: Number of the first entry that is kept; 0 when there is none.
        last: Number and hash of the last one, to be noted elsewhere.
        signed: How many are under a key that is at hand.
        faults: At most 100; `fault_count` has all.
    """

    entries: int = 0
    first: int = 0
    last: Head = START
    signed: int = 0
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether the chain is as it was written."""
        return self.fault_count == 0

    def add(self, n: int, kind: str, detail: str) -> None:
        """Note a fault."""
        self.fault_count += 1
        if len(self.faults) < MAX_TOLD:
            self.faults.append(Fault(n, kind, detail))


@dataclass(frozen=True, slots=True)
class Ends:
    """What Redis says of a chain beside its entries: its last one, and the last one that was cut off.

    Attributes:
        top: Number of the last entry that is really there.
    """

    head: Head
    cut: Head
    top: int


class Verifier:
    """Takes the entries of a chain in order, then says what is wrong.

    Args:
        noted: An entry that somebody noted elsewhere: it must be in the chain, or cut off since.
        keep: How many entries stay; no more than those before them may be cut off.
    """

    def __init__(self, signer: Signer, ends: Ends, *, noted: Head | None = None, keep: int = KEEP) -> None:
        self.report = Report(last=ends.head)
        self._last = max(ends.head.n, ends.top)
        self._signer = signer
        self._ends = ends
        self._noted = noted
        # On which of these hashes the next entry builds: the last entry's as it stands, or as it should be.
        self._previous: tuple[str, ...] = (ends.cut.hash,)
        self._is_known = True
        self._unknown: set[str] = set()
        self._next = ends.cut.n + 1
        if ends.top > ends.head.n:
            self.report.add(ends.head.n + 1, "head", f"the chain is said to end with {ends.head.n}, not {ends.top}")
        if ends.cut.n > max(0, ends.head.n - keep):
            self.report.add(1, "removed", f"entries up to {ends.cut.n} are cut off, {keep} should be there")

    def take(self, entries: Iterable[Sealed]) -> None:
        """Look at the next entries; those that came since the ends were read are passed by."""
        for entry in entries:
            if self._ends.cut.n < entry.n <= self._last:
                self._take(entry)

    def end(self) -> Report:
        """What was found, after the last entry."""
        last, noted = self._last, self._noted
        if self._next <= last:
            self.report.add(self._next, "removed", _missing(self._next, last))
        if noted is not None and noted.n > last:
            self.report.add(noted.n, "removed", f"entry {noted.n} was noted, the chain ends with {last}")
        if self._signer.key_id and self.report.entries and not self.report.signed:
            self.report.add(self.report.first, "unsigned", "no entry is under the key: anybody could have made them")
        return self.report

    def _take(self, entry: Sealed) -> None:
        report = self.report
        report.entries += 1
        report.first = report.first or entry.n
        found = _fields(entry.text)
        key_id = str(found.get("key", ""))
        if entry.n != self._next:
            report.add(self._next, "removed", _missing(self._next, entry.n - 1))
        if found.get("n") != entry.n:
            kind = "moved" if found else "changed"
            report.add(entry.n, kind, f"in place of entry {entry.n} stands {found.get('n', 'what is no entry')}")
            self._builds_on(entry.hash, *self._previous, is_known=False)
        elif entry.n != self._next:
            self._builds_on(entry.hash)
        else:
            self._check(entry, key_id)
        if found:
            self._count(entry, key_id)
        if entry.n == self._ends.head.n and entry.hash != self._ends.head.hash:
            report.add(entry.n, "head", f"entry {entry.n} is not the one that the chain is said to end with")
        self._compare_noted(entry)
        self._next = entry.n + 1

    def _check(self, entry: Sealed, key_id: str) -> None:
        made = [self._signer.digest(previous, entry.text, key_id) for previous in self._previous]
        known = [digest for digest in made if digest is not None]
        if known and self._is_known and entry.hash not in known:
            self.report.add(entry.n, "changed", f"entry {entry.n} is not what was written")
            self._builds_on(entry.hash, *known)
        else:
            self._builds_on(entry.hash)

    def _builds_on(self, *hashes: str, is_known: bool = True) -> None:
        """Of the next entry; not `is_known`: its true predecessor may be gone, so it can show nothing."""
        self._previous, self._is_known = hashes[:_ALTERNATIVES], is_known

    def _count(self, entry: Sealed, key_id: str) -> None:
        if not key_id:
            if self.report.signed:
                # Before the first signed one they are bound by its hash; behind it nothing binds them.
                self.report.add(entry.n, "unsigned", f"entry {entry.n} is under no key, others before it are")
        elif self._signer.knows(key_id):
            self.report.signed += 1
        elif key_id not in self._unknown:
            self._unknown.add(key_id)
            told = f"entry {entry.n}, and perhaps others, is under the key {key_id}, which is not at hand"
            self.report.add(entry.n, "unknown_key", told)

    def _compare_noted(self, entry: Sealed) -> None:
        if self._noted is not None and self._noted.n == entry.n and self._noted.hash != entry.hash:
            self.report.add(entry.n, "rewritten", f"entry {entry.n} is another one than was noted")


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _fields(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
