"""How does a process write its log? One event a line, JSON unless a person watches; no text can make a line of its own.

Code, output and secrets are never logged, but a reason may quote what a guest said, and a path or a name what a caller
chose. JSON escapes all of it. On a console text is escaped here, and whatever needs lines of its own, a traceback,
stands behind a bar: what begins at the left edge was written by us.
"""

import logging
import sys
from collections.abc import Callable
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

BAR = "  | "
"""Before each line of a traceback on a console."""
FIELDS = ("method", "route", "status", "took_s", "job_id", "session_id", "reason")
"""What a line of the standard library's may bring beside its text (`extra`). Celery puts arguments there."""
_QUOTED = frozenset(" =\"'")


def configure(level: str, style: str, *, stream: TextIO | None = None, report: Processor | None = None) -> None:
    """Set up structlog and the standard library's loggers (Celery, docker, uvicorn) to write to one stream.

    Others than ours tell warnings at least.

    Args:
        level: debug, info, warning or error.
        style: json, console, or auto (console on a terminal).
        stream: None = standard output.
        report: Sees every line before it is written.
    """
    stream = stream or sys.stdout
    is_console = style == "console" or (style == "auto" and stream.isatty())
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        *([report] if report is not None else []),
        structlog.processors.format_exc_info,
    ]
    after = _console(has_colors=stream.isatty()) if is_console else [structlog.processors.JSONRenderer(default=repr)]
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    named: list[Processor] = [structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(allow=FIELDS)]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
            foreign_pre_chain=[*named, *before],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("leasebox").setLevel(number)
    logging.captureWarnings(capture=True)


def _console(*, has_colors: bool) -> list[Processor]:
    return [_harmless, structlog.dev.ConsoleRenderer(colors=has_colors, pad_event_to=0)]


def _harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Nothing of an event can end its line, move the cursor, or pass for another field."""
    shown: dict[str, Callable[[str], str]] = {"event": escaped, "exception": barred, "stack": barred}
    found: EventDict = {}
    for name, value in event.items():
        text = value if isinstance(value, str) else repr(value)
        found[escaped(name)] = value if isinstance(value, int | float | None) else shown.get(name, word)(text)
    return found


def escaped(text: str) -> str:
    """The text with all that a terminal would obey, or that looks like nothing, written out: `\\n`, `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def word(text: str) -> str:
    """The text as one value of a line: in quotes where it could be read as more than one."""
    return text if text and text.isprintable() and not _QUOTED & set(text) else repr(text)


def barred(text: str) -> str:
    """Several lines, each escaped and behind the bar."""
    return "\n".join(BAR + escaped(line) for line in text.split("\n"))
