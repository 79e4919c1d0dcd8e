"""What a guest agent may say, checked: every frame is the claim of an enemy until it fits here."""

import json
from dataclasses import dataclass
from typing import Any

from leasebox.contract.errors import GuestProtocolError
from leasebox_guest.frames import Kind

MAX_TEXT = 4096
MAX_TRACEBACK = 32 << 10


DEAD_MAN = "dead_man:"
"""How the agent begins to say that it had no word from its worker."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent serves; `python` is the version of its interpreter."""

    python: str
    interpreter: str


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that the job wrote; `stream` is stdout or stderr."""

    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """So many bytes of standard input were taken."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """A cell has begun in a new interpreter; `reason` the state of those before it is lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class DisplayPart:
    """A part of the JSON of a MIME bundle."""

    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class ApartPart:
    """A part of a content that is too large for its bundle, which follows."""

    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Display:
    """A MIME bundle that a cell shows, as JSON that Redis can hold.

    Attributes:
        apart: MIME types of the contents that came before it, in order.
    """

    bundle_json: bytes
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Input:
    """A cell asks for a line of standard input."""

    prompt: str


@dataclass(frozen=True, slots=True)
class CellError:
    """An exception that ended a cell."""

    name: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Exited:
    """How the job's first process ended, by wait4 and the agent's clock; of a cell, what its interpreter says.

    Attributes:
        limit: None, or wall, cpu, silence or output: the limit for which the agent killed it.
        is_clean: False: the sandbox could not be emptied and must not be used again.
        error: Why the program could not be started (then `code` is 126 or 127), or that the agent had no word from us.
        interpreter: `none`, `kept`, or `lost`: the one that the sandbox had is gone, with its state.
        failure: What a cell raised.
        disk_bytes: In the workspace at the end.
        is_disk_full: The workspace, /tmp or /dev/shm had no room or no inode left then.
    """

    id: str
    code: int | None
    signal: int | None
    limit: str | None
    is_cancelled: bool
    wall_s: float
    cpu_s: float
    memory_peak_bytes: int
    is_clean: bool
    error: str | None
    interpreter: str = "none"
    failure: CellError | None = None
    disk_bytes: int = 0
    is_disk_full: bool = False

    @property
    def is_dead_man(self) -> bool:
        """Whether the agent ended the job because this worker was silent for too long (GUEST.md, dead-man)."""
        return self.error is not None and self.error.startswith(DEAD_MAN)


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent did not start the job."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """Every process of the job is stopped."""


Message = Ready | Output | Credit | Exited | Refused | Held | Restarted | DisplayPart | ApartPart | Display | Input

INTERPRETER = ("none", "kept", "lost")
LOST_BY = (
    "exited", "killed", "cancelled", "wall", "cpu", "silence", "output", "unresponsive", "channel", "stopped",
)  # fmt: skip
"""Why an interpreter is gone, as the agent knows it; that the kernel killed for memory is the host's to find out."""


def decode(kind: int, payload: bytes) -> Message | None:
    """Turn one frame into a message; None for those that only keep the line alive.

    Raises:
        GuestProtocolError: Unknown kind, broken JSON, a field of the wrong type or out of its range.
    """
    match kind:
        case Kind.STDOUT:
            return Output("stdout", payload)
        case Kind.STDERR:
            return Output("stderr", payload)
        case Kind.PONG:
            return None
        case Kind.HELD:
            return Held()
        case Kind.DISPLAY:
            return _display_part(payload)
    return _decode_control(kind, _object(payload))


def _decode_control(kind: int, data: dict[str, Any]) -> Message | None:
    match kind:
        case Kind.READY:
            return Ready(_text(data, "python"), _text(data, "interpreter"))
        case Kind.STARTED:
            return None if data.get("restarted") is None else Restarted(_one_of(data, "restarted", LOST_BY))
        case Kind.INPUT:
            return Input(_text(data, "prompt"))
        case Kind.CREDIT:
            return Credit(int(_number(data, "n", 0, 1 << 30)))
        case Kind.EXITED:
            return _exited(data)
        case Kind.REFUSED:
            return Refused(_text(data, "id"), _text(data, "reason"))
    raise GuestProtocolError(f"the agent sent a frame of unknown kind {kind}")


def _exited(data: dict[str, Any]) -> Exited:
    code, signal, limit = data.get("code"), data.get("signal"), data.get("limit")
    if limit not in (None, "wall", "cpu", "silence", "output"):
        raise GuestProtocolError("EXITED names an unknown limit")
    return Exited(
        id=_text(data, "id"),
        code=None if code is None else int(_number(data, "code", 0, 255)),
        signal=None if signal is None else int(_number(data, "signal", 1, 64)),
        limit=limit,
        is_cancelled=data.get("cancelled") is True,
        wall_s=_number(data, "wall_s", 0, 1e7),
        cpu_s=_number(data, "cpu_s", 0, 1e9),
        memory_peak_bytes=int(_number(data, "maxrss_bytes", 0, 1 << 50)),
        is_clean=data.get("clean") is True,
        error=None if data.get("error") is None else _text(data, "error"),
        interpreter=_one_of(data, "interpreter", INTERPRETER),
        failure=None if data.get("failure") is None else _failure(data["failure"]),
        disk_bytes=int(_number(data, "disk_bytes", 0, 1 << 50)) if "disk_bytes" in data else 0,
        is_disk_full=data.get("disk_full") is True,
    )


def _failure(fields: object) -> CellError:
    if not isinstance(fields, dict):
        raise GuestProtocolError("field failure is not an object")
    return CellError(
        _text(fields, "name"),
        _text(fields, "message"),
        _text(fields, "traceback", MAX_TRACEBACK),
    )


def _display_part(payload: bytes) -> DisplayPart | ApartPart:
    if payload[:1] not in (b"\0", b"\1", b"\2", b"\3"):
        raise GuestProtocolError("a part of a display that neither goes on nor ends")
    is_last = not payload[0] & 1
    return ApartPart(payload[1:], is_last) if payload[0] & 2 else DisplayPart(payload[1:], is_last)


def _one_of(data: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = data.get(name)
    if value not in known:
        raise GuestProtocolError(f"field {name} is none of {', '.join(known)}")
    return str(value)


def _object(payload: bytes) -> dict[str, Any]:
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise GuestProtocolError("a control frame is not JSON") from exc
    if not isinstance(data, dict):
        raise GuestProtocolError("a control frame is not an object")
    return data


def _text(data: dict[str, Any], name: str, most: int = MAX_TEXT) -> str:
    value = data.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise GuestProtocolError(f"field {name} is not a short text")
    return value.encode(errors="replace").decode()  # half a character would fit into no Result


def _number(data: dict[str, Any], name: str, low: float, high: float) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GuestProtocolError(f"field {name} is not a number")
    if not low <= value <= high:  # also what is no number or infinite; an integer may be too large for a float
        raise GuestProtocolError(f"field {name} is out of range")
    return value
