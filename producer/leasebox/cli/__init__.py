"""`leasebox`, the command line: our errors are one sentence and a hint, never a traceback."""

import gc
import io
import os
import sys
from pathlib import Path

from leasebox.contract.errors import LeaseboxError

OURS = 125
"""Exit status of everything that is ours and not the program's."""
BROKEN_PIPE = 128 + 13
"""Exit status where nobody reads what we print (`leasebox jobs | head -1`), as a shell tells SIGPIPE."""


def main() -> None:
    """Entry point of the console script."""
    # Imports make many objects and no garbage: looking for it takes a tenth of the time to start.
    gc.set_threshold(50_000)
    _ready_streams()
    from leasebox.cli.app import app

    try:
        app(prog_name="leasebox")
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except (LeaseboxError, OSError) as exc:
        from leasebox.cli.show import say

        say(f"leasebox: {exc}")
        sys.exit(OURS)
    finally:
        _abandon_unwritten()
        # The interpreter ends by looking through all objects three times: a fifth of `leasebox run`, for nothing.
        gc.freeze()


def _ready_streams() -> None:
    """Make a closed standard stream an empty one, and let no character that stdout's encoding lacks be an error."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _abandon_unwritten() -> None:
    # The interpreter would complain at exit about what it cannot flush.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
