"""`leasebox top`: queues, nodes, sessions and jobs on one screen, read anew each second."""

import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from leasebox._overview import Overview
from leasebox.cli.overview_view import as_document, screen
from leasebox.cli.show import as_json
from leasebox.config import color_wanted
from leasebox.contract.errors import BrokerUnavailable, Forbidden

if TYPE_CHECKING:
    from rich.console import Console

    from leasebox.client import Client

PERIOD_S = 1.0
_PIPE_WIDTH = 120
Read = Callable[[], Overview]


def show_top(client: "Client", *, is_once: bool, is_json: bool) -> None:
    """Show the screen until Ctrl-C or SIGTERM; once where that was asked, or where no terminal is.

    Raises:
        Exit: With 0 after Ctrl-C, 143 after SIGTERM.
        LeaseboxError: The first look failed; later ones say so on the screen and go on.
    """
    read = reader_of(client)
    if is_json:
        as_json(as_document(read()))
        return
    from rich.console import Console

    console = Console(no_color=not color_wanted(), highlight=False, markup=False)
    if is_once or not console.is_terminal or console.is_dumb_terminal:
        wide = (
            console if console.is_terminal else Console(width=_PIPE_WIDTH, no_color=True, highlight=False, markup=False)
        )
        wide.print(screen(read(), None))
        return
    _watch(console, read)


def reader_of(client: "Client") -> Read:
    """Reads an overview; once a key may not see sessions, they are not asked for again."""
    may_see = [True]

    def _read() -> Overview:
        try:
            return client._run(client._backend.overview(has_sessions=may_see[0]))
        except Forbidden:
            if not may_see[0]:
                raise
            may_see[0] = False
            return _read()

    return _read


def _watch(console: "Console", read: Read) -> NoReturn:
    from rich.live import Live

    # Whoever ends this gets back the terminal as it was.
    signal.signal(signal.SIGTERM, _leave)
    seen, fault = read(), ""
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(seen, console.height, fault), refresh=True)
                time.sleep(PERIOD_S)
                seen, fault = _again(read, seen)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _again(read: Read, before: Overview) -> tuple[Overview, str]:
    """What is there now, or what was there and why nobody knows."""
    try:
        return read(), ""
    except BrokerUnavailable as exc:
        return before, exc.detail


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
