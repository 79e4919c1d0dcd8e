"""How is an exception of a cell told? Name, message and traceback, without the frames that ran the cell."""

from __future__ import annotations

import linecache
import os
import traceback
from types import TracebackType

MESSAGE_LIMIT = 4096
TRACEBACK_LIMIT = 32 << 10
_OURS = os.path.dirname(__file__) + os.sep  # noqa: PTH120
_CELL = "<cell "


def remember_source(name: str, source: str) -> None:
    """Let every traceback, warning and `inspect.getsource` show the lines of a cell."""
    linecache.cache[name] = (len(source), None, [f"{line}\n" for line in source.split("\n")], name)


def explain(exc: BaseException) -> dict[str, str]:
    """`name`, `message` and `traceback` of an exception, each within its bound; never fails."""
    try:
        _trim(exc)
        text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
    except BaseException as failure:  # noqa: BLE001 (foreign `__str__`, `__cause__`; recursion; no memory)
        text = f"{type(exc).__name__}: its traceback cannot be shown ({type(failure).__name__})\n"
    return {"name": type(exc).__name__, "message": text_of(exc), "traceback": text[-TRACEBACK_LIMIT:]}


def text_of(value: object) -> str:
    """`str(value)` within its bound; never fails."""
    try:
        return str(value)[:MESSAGE_LIMIT]
    except BaseException as failure:  # noqa: BLE001 (a foreign `__str__`)
        return f"(its text cannot be shown: {type(failure).__name__})"


def _trim(exc: BaseException) -> None:
    """Drop the frames that stand before the cell's own, in each exception of the chain and of groups."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [exc]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _from_cell_on(current.__traceback__)
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def _from_cell_on(first: TracebackType | None) -> TracebackType | None:
    """The frames from the first one of a cell on; and nowhere one of ours, such as `input`'s."""
    at = first
    while at is not None and not _file(at).startswith(_CELL):
        at = at.tb_next
    if at is None:
        return None if first is not None and _file(first).startswith(_OURS) else first
    last = at
    while last.tb_next is not None:
        if _file(last.tb_next).startswith(_OURS):
            last.tb_next = last.tb_next.tb_next
        else:
            last = last.tb_next
    return at


def _file(trace: TracebackType) -> str:
    return trace.tb_frame.f_code.co_filename
