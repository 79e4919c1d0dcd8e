"""Which value does a secret have? Read by name when a job needs it, from a folder with one file a secret, or as given.

A value goes over the channel into one job's environment, and nowhere else: it stands in no record, message, log or
Result. The folder is `LEASEBOX_SECRETS_DIR`, by default Docker's own /run/secrets; what no file has may stand in the
worker's own environment as `LEASEBOX_SECRET_<NAME>`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from leasebox.contract.errors import InvalidSpec

MIN_BYTES = 4
"""A shorter one could not be kept out of the output: every `1` of a program would be one."""
MAX_BYTES = 8192


class SecretStore:
    """The secrets of this node."""

    def __init__(self, folder: Path | None, environment: Mapping[str, str] | None = None) -> None:
        """Reads nothing yet, so that a file may be changed while the worker runs.

        Args:
            folder: None = there is none.
            environment: Values of those that have no file.
        """
        self._folder = folder
        self._environment = environment or {}

    def read(self, names: Iterable[str]) -> dict[str, str]:
        """Values by name, without the line break at their end; bytes that are not UTF-8 as surrogates.

        Args:
            names: Admitted, so each fits `names.SECRET_NAME` and is no path.

        Raises:
            InvalidSpec: This node has no such secret, or it cannot be one. The value is never in the message.
        """
        return {name: self._read(name) for name in names}

    def _read(self, name: str) -> str:
        value = self._bytes(name)
        value = value.removesuffix(b"\n").removesuffix(b"\r")
        if not MIN_BYTES <= len(value) <= MAX_BYTES or b"\0" in value:
            raise InvalidSpec(f"secrets: {name} must have {MIN_BYTES} to {MAX_BYTES} bytes and no NUL byte")
        return value.decode(errors="surrogateescape")

    def _bytes(self, name: str) -> bytes:
        hint = f"the operator puts it into a file {name} of LEASEBOX_SECRETS_DIR, or sets LEASEBOX_SECRET_{name}"
        reason = ""
        try:
            if self._folder is not None:
                with (self._folder / name).open("rb") as file:
                    return file.read(MAX_BYTES + 2)
        except FileNotFoundError as exc:
            reason = f": {exc.strerror}"
        except OSError as exc:  # a file that cannot be read is a mistake, not a reason to take an older value
            raise InvalidSpec(f"secrets: this node has no {name}: {exc.strerror}", hint=hint) from exc
        if name not in self._environment:
            raise InvalidSpec(f"secrets: this node has no {name}{reason}", hint=hint)
        return self._environment[name].encode(errors="surrogateescape")
