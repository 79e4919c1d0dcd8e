"""Which of these programs does this sandbox have, and which version does each say? Runs in there, as a job.

On stdin it gets `{name: [programs, command]}`; on stdout it says what each command printed whose programs are there and
which succeeded. It stands alone: nothing of ours can be imported in a sandbox.
"""

import json
import shutil
import subprocess
import sys

WITHIN_S = 10.0
MOST_CHARACTERS = 1000


def main() -> None:
    """Answer the questions."""
    said = {}
    for name, (programs, command) in json.load(sys.stdin).items():
        if all(shutil.which(program) for program in (*programs, command[0])):
            text = answer(command)
            if text is not None:
                said[name] = text
    print(json.dumps(said))  # noqa: T201


def answer(command: list[str]) -> str | None:
    """What a command prints; None if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace")[:MOST_CHARACTERS] if done.returncode == 0 else None


if __name__ == "__main__":
    main()
