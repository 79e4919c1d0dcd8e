"""What has a job written so far, within bounds, in the order in which it wrote?"""

from collections.abc import Sequence
from dataclasses import dataclass

from leasebox import _flows
from leasebox._reads import Flow, Query, text_of
from leasebox._stream import START, EventReader
from leasebox.contract.errors import StreamExpired
from leasebox.contract.events import Display, Event, Input, Retried, SessionRestarted, Started, Stderr, Stdout
from leasebox.contract.result import Result
from leasebox.server.service import Desk

MAX_CHARS = 256 << 10
_EVENT_CHARS = 100  # what an event costs beside its text: a program that writes single characters has many
_ENTRIES = 64
_LAST_ENTRIES = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one kind: `out`, `err`, or `note`, which is ours."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A job's output; live events follow `cursor`, and None says that nothing will follow."""

    pieces: Sequence[Piece]
    cursor: str | None
    is_cut: bool = False


async def transcript(desk: Desk, job: str, result: Result | None) -> Transcript:
    """What it wrote: all of it, or of very much the end; of an ended one then head and tail, as its Result has them."""
    try:
        whole = await _from(desk, EventReader(job))
        if not whole.is_cut:
            return whole
        return of_result(result) if result is not None else await _from(desk, await _late_reader(desk, job))
    except StreamExpired:
        return of_result(result) if result is not None else Transcript((), None)


async def _from(desk: Desk, reader: EventReader) -> Transcript:
    found: list[Event] = []
    left = MAX_CHARS
    begins_late = reader.cursor != START
    keys, tenant = desk.backend.keys, desk.tenant
    while left > 0 and not reader.is_done:
        events = await desk.run(_flows.next_events(keys, tenant, reader, 0, _ENTRIES))
        if not events:
            break
        found += events
        left -= sum(_EVENT_CHARS + len(getattr(event, "text", "")) for event in events)
    is_cut = left <= 0 or begins_late
    return Transcript(pieces(found), None if reader.is_done else reader.cursor, is_cut)


async def _late_reader(desk: Desk, job: str) -> EventReader:
    command = ("XREVRANGE", desk.backend.keys.events(job), "+", "-", "COUNT", _LAST_ENTRIES)
    ids = await desk.run(_ids(command))
    return EventReader(job, ids[-1])


def _ids(command: tuple[str | int, ...]) -> Flow[list[str]]:
    found: list[str] = yield Query((command,), lambda replies: [text_of(name) for name, _ in replies[0]])
    return found


def pieces(events: Sequence[Event]) -> list[Piece]:
    """Events as text, each kind put together as long as it lasts."""
    found: list[Piece] = []
    for event in events:
        piece = _piece(event)
        if found and piece is not None and piece.kind == found[-1].kind != "note":
            found[-1] = Piece(piece.kind, found[-1].text + piece.text)
        elif piece is not None:
            found.append(piece)
    return found


def _piece(event: Event) -> Piece | None:
    match event:
        case Stdout(text=text):
            return Piece("out", text)
        case Stderr(text=text):
            return Piece("err", text)
        case Started(node=node, attempt=attempt):
            return Piece("note", f"started on {node}" + (f", attempt {attempt}" if attempt > 1 else ""))
        case Retried(reason=reason):
            return Piece("note", f"given up and tried again: {reason}")
        case SessionRestarted(reason=reason):
            return Piece("note", f"the session began anew: {reason}")
        case Display(bundle=bundle):
            return Piece("note", f"displayed {', '.join(bundle) or 'nothing'}")
        case Input(prompt=prompt):
            return Piece("note", f"asks for input: {prompt}")
        case _:
            return None


def of_result(result: Result) -> Transcript:
    """The output that the Result keeps."""
    kept = [Piece("out", result.stdout), Piece("err", result.stderr)]
    is_cut = result.truncated.stdout or result.truncated.stderr
    return Transcript([piece for piece in kept if piece.text], None, is_cut)
