"""What is in the audit chain, and how is an entry bound to the one before it?

The hash of an entry covers its text and the hash before it: HMAC-SHA256 under `LEASEBOX_AUDIT_KEY`, plain SHA-256
without one. So an entry cannot be changed, removed or moved unnoticed by who does not make all later hashes anew, and
with a key only who has it can. An entry says who did what to what: never code, a secret, or what is in a file.
"""

import hashlib
import hmac
import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from leasebox.contract.errors import ConfigError

KEEP = 100_000
"""So many entries stay in Redis, the newest; some 35 MiB. What was before is bound by the hash of its last one."""
MAX_BATCH = 256
MIN_KEY_BYTES = 16
_MAX_WORD = 256


class Door(StrEnum):
    """By which way something was asked for."""

    HTTP = "http"
    CLI = "cli"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Record:
    """Something that was done or refused.

    Attributes:
        at: Unix seconds, by the clock of the process that saw it.
        actor: Id of an API key; `local` for who needs none; the node's name for what a worker saw.
        target: What it was done to: id of a job, batch or key, name of a session or node.
        result: `ok`, or the code of the refusal.
        request: Id of the HTTP request.
        more: What else is known: names and counts.
    """

    at: float
    door: Door
    action: str
    actor: str = "local"
    tenant: str = ""
    target: str = ""
    result: str = "ok"
    request: str = ""
    more: Mapping[str, str | int] = field(default_factory=dict)


class Head(NamedTuple):
    """The last entry of a chain: its number, from 1 on, and its hash."""

    n: int
    hash: str


START = Head(0, "")


class Sealed(NamedTuple):
    """An entry as Redis has it."""

    n: int
    text: str
    hash: str


class Signer:
    """Makes the hashes of a chain.

    Args:
        keys: The first signs, all are known when a chain is verified; none = plain SHA-256.

    Attributes:
        key_id: Of the key that signs, in each entry's text; '' without one.
    """

    def __init__(self, *keys: bytes) -> None:
        self._keys = {_id_of(key): key for key in keys}
        self.key_id = _id_of(keys[0]) if keys else ""

    def knows(self, key_id: str) -> bool:
        """Whether the key of this id is at hand."""
        return key_id in self._keys

    def digest(self, previous: str, text: str, key_id: str) -> str | None:
        """The hash that belongs to an entry; None when the key of this id is not at hand."""
        covered = f"{previous}\n{text}".encode()
        if not key_id:
            return hashlib.sha256(covered).hexdigest()
        key = self._keys.get(key_id)
        return None if key is None else hmac.new(key, covered, hashlib.sha256).hexdigest()

    def chained(self, head: Head, records: Sequence[Record]) -> list[Sealed]:
        """The entries that go behind `head`."""
        made: list[Sealed] = []
        for n, record in enumerate(records, head.n + 1):
            text = _text(n, self.key_id, record)
            digest = self.digest(head.hash, text, self.key_id)
            assert digest is not None
            head = Head(n, digest)
            made.append(Sealed(n, text, digest))
        return made


def signer_of(setting: str | None) -> Signer:
    """The signer that `LEASEBOX_AUDIT_KEY` asks for: one key, or several with commas, the one that signs first.

    Raises:
        ConfigError: A key is too short to be one.
    """
    keys = [part.strip().encode() for part in (setting or "").split(",") if part.strip()]
    if any(len(key) < MIN_KEY_BYTES for key in keys):
        raise ConfigError(
            f"LEASEBOX_AUDIT_KEY: each key has at least {MIN_KEY_BYTES} bytes", hint="openssl rand -hex 32"
        )
    return Signer(*keys)


class Backlog:
    """Records that are not written yet, in order; may be used from any thread.

    Beyond `most` records are dropped; the chain then says how many.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._waiting: deque[Record] = deque()
        self._dropped: Record | None = None
        self._lost = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + self._lost

    def put(self, record: Record) -> None:
        """Add one."""
        with self._lock:
            if len(self._waiting) < self._most:
                self._waiting.append(record)
            else:
                self._dropped, self._lost = record, self._lost + 1

    def first(self) -> list[Record]:
        """The oldest, as many as one script writes; the same again until they are `done`."""
        with self._lock:
            return [self._waiting[place] for place in range(min(MAX_BATCH, len(self._waiting)))]

    def done(self, count: int) -> None:
        """The oldest are written."""
        with self._lock:
            for _ in range(count):
                self._waiting.popleft()
            if self._dropped is not None:
                told = replace(self._dropped, action="audit.lost", actor="", tenant="", target="", request="")
                self._waiting.append(replace(told, result="lost", more={"count": self._lost}))
                self._dropped, self._lost = None, 0


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"leasebox audit key\n" + key).hexdigest()[:8]


def _text(n: int, key_id: str, record: Record) -> str:
    """One line of JSON: sorted, ASCII, control characters escaped, no word longer than it may be."""
    fields = {name: _word(value) for name, value in asdict(record).items() if name != "more"}
    more = {name: _word(value) for name, value in record.more.items()}
    entry = {"n": n, "key": key_id, **fields, "at": round(record.at, 6), "more": more}
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


def _word(value: object) -> object:
    return value[:_MAX_WORD] if isinstance(value, str) else value
