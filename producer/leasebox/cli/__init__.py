"""`leasebox`, the command line: our errors are one sentence and a hint, never a traceback."""

import gc
import os
import sys

from leasebox.contract.errors import LeaseboxError

OURS = 125
"""Exit status of everything that is ours and not the program's."""


def main() -> None:
    """Entry point of the console script."""
    # Imports make many objects and no garbage: looking for it takes a tenth of the time to start.
    gc.set_threshold(50_000)
    from leasebox.cli.app import app

    try:
        app(prog_name="leasebox")
    except LeaseboxError as exc:
        sys.stdout.flush()
        print(f"leasebox: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(OURS)
    except OSError as exc:
        print(f"leasebox: {exc}", file=sys.stderr)  # noqa: T201
        # The interpreter would complain at exit about what it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OURS)
    finally:
        # The interpreter ends by looking through all objects three times: a fifth of `leasebox run`, for nothing.
        gc.freeze()
