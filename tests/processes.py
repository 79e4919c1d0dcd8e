"""How do tests and measurements run a program beside them? Until a block ends, with what it says in a file."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

ENDS_WITHIN_S = 60.0


@contextmanager
def process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, folder: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends with the block: by SIGTERM, or by force where that is not enough.

    Args:
        log: What it writes is added there.
        environment: All of it; None = ours.
    """
    with log.open("ab") as out:
        child = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def is_healthy(api: str) -> bool:
    """Whether an API answers at this address, such as http://127.0.0.1:8707."""
    try:
        return httpx2.get(f"{api}/healthz").status_code == 200
    except httpx2.TransportError:
        return False
