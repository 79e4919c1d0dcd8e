"""What a job tells while it lives: the events of its stream.

Each has `id` (the cursor to resume from), `at` (unix seconds) and `type`. Exactly one `Finished` is the last; nothing
but it means the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

from leasebox.contract.result import Result


@dataclass(frozen=True, slots=True)
class Base:
    """What every event has."""

    type: ClassVar[str]
    id: str
    at: float


@dataclass(frozen=True, slots=True)
class Queued(Base):
    """The job was accepted."""

    type: ClassVar[str] = "queued"
    queue: str
    position: int | None


@dataclass(frozen=True, slots=True)
class Started(Base):
    """An attempt is about to start its code."""

    type: ClassVar[str] = "started"
    node: str
    sandbox: str
    attempt: int


@dataclass(frozen=True, slots=True)
class SessionRestarted(Base):
    """The session's earlier sandbox is gone, with its files and state.

    A reason that begins with `interpreter_` is said by a cell: its session's files are there, but the interpreter of
    the cells before it is gone. The rest is how it ended: `exited`, `killed`, `oom`, `cancelled`; a limit (`wall`,
    `cpu`, `silence`, `output`) whose interrupt it did not heed; `unresponsive` (it did not read the next cell),
    `channel` (it broke its result channel), `stopped` (in the midst of a cell, because its worker was gone).
    """

    type: ClassVar[str] = "session_restarted"
    reason: str


@dataclass(frozen=True, slots=True)
class Retried(Base):
    """An attempt was given up; another follows. Output before this belongs to the earlier attempt."""

    type: ClassVar[str] = "retried"
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stdout(Base):
    """Bytes of standard output; `text` never splits a character across events."""

    type: ClassVar[str] = "stdout"
    data: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Stderr(Base):
    """Bytes of standard error; `text` never splits a character across events."""

    type: ClassVar[str] = "stderr"
    data: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Display(Base):
    """A rich output of a stateful cell: a map from MIME type to text (binary as base64)."""

    type: ClassVar[str] = "display"
    bundle: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input(Base):
    """The program asks for a line of input."""

    type: ClassVar[str] = "input"
    prompt: str


@dataclass(frozen=True, slots=True)
class Finished(Base):
    """The end, with the result."""

    type: ClassVar[str] = "finished"
    result: Result


Event = Queued | Started | SessionRestarted | Retried | Stdout | Stderr | Display | Input | Finished

BY_TYPE: Mapping[str, type[Event]] = {kind.type: kind for kind in get_args(Event)}
"""Each kind by the name that it has in JSON."""
