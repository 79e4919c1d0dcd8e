"""`leasebox profiles validate`: would a worker serve this file? The worker itself says so; no Redis is needed."""

import json
import subprocess
from pathlib import Path

import typer

from leasebox._supervisor import default_worker
from leasebox.cli.show import as_json, line, say
from leasebox.config import child_environment
from leasebox.contract.errors import ConfigError

_WITHIN_S = 60.0


def validate_profiles(file: Path | None, *, is_json: bool) -> None:
    """Print what the file gives, or each fault; exit 0 when it would be served, else 1.

    Args:
        file: None = the one that `LEASEBOX_PROFILES_FILE` names, else the built-in profiles.

    Raises:
        ConfigError: The worker's settings are wrong, or it cannot be run here.
        Exit: With 1.
    """
    command = [*default_worker()[:-2], "profiles", *([str(file)] if file else [])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_WITHIN_S, check=False, env=child_environment()
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        words = done.stderr.strip().splitlines()[-1:] if isinstance(exc, ValueError) else [str(exc)]
        raise ConfigError(f"the worker could not check the profiles: {' '.join(words)}") from exc
    if is_json:
        as_json(found)
    elif found["ok"]:
        line(f"{found['file'] or 'built in'}: {len(found['profiles'])} profiles: {', '.join(found['profiles'])}")
    else:
        for fault in found["faults"]:
            say(f"leasebox: {fault}")
    if not found["ok"]:
        raise typer.Exit(1)
