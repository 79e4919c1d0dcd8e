"""What do `!cmd`, `%%bash` and `%pip` of a cell run? Programs on the cell's own standard streams."""

from __future__ import annotations

import sys
from typing import NoReturn


def run_shell(text: str, shell: str | None = None) -> None:
    """Run a line, or with `shell` a script.

    Raises:
        CalledProcessError: A script failed; of a line the exit code does not matter.
    """
    _run([shell or "sh", "-c", text], must_succeed=shell is not None)


def run_pip(words: str) -> None:
    """Run pip of this interpreter.

    Raises:
        CalledProcessError: It failed.
    """
    import shlex

    _run([sys.executable, "-m", "pip", *shlex.split(words)], must_succeed=True)


def no_magic(name: str) -> NoReturn:
    """Say that a magic is not known.

    Raises:
        NameError: Always.
    """
    raise NameError(f"this interpreter has no magic {name}")


def _run(argv: list[str], *, must_succeed: bool) -> None:
    import subprocess

    sys.stdout.flush()
    sys.stderr.flush()
    subprocess.run(argv, check=must_succeed)
