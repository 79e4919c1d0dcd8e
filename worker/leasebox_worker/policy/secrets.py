"""Which value does a secret have? Read by name when a job needs it, from a folder with one file a secret.

A value goes over the channel into one job's environment, and nowhere else: it stands in no record, message, log or
Result. The folder is `LEASEBOX_SECRETS_DIR`, by default Docker's own /run/secrets.
"""

from collections.abc import Iterable
from pathlib import Path

from leasebox.contract.errors import InvalidSpec

MIN_BYTES = 4
"""A shorter one could not be kept out of the output: every `1` of a program would be one."""
MAX_BYTES = 8192


class SecretStore:
    """The secrets of this node."""

    def __init__(self, folder: Path | None) -> None:
        """Reads nothing yet, so that a secret may be changed while the worker runs; None = there are none."""
        self._folder = folder

    def read(self, names: Iterable[str]) -> dict[str, str]:
        """Values by name, without the line break at their end; bytes that are not UTF-8 as surrogates.

        Args:
            names: Admitted, so each fits `names.SECRET_NAME` and is no path.

        Raises:
            InvalidSpec: This node has no such secret, or it cannot be one. The value is never in the message.
        """
        return {name: self._read(name) for name in names}

    def _read(self, name: str) -> str:
        hint = f"the operator puts it into a file {name} of LEASEBOX_SECRETS_DIR"
        if self._folder is None:
            raise InvalidSpec(f"secrets: this node has no {name}", hint=hint)
        try:
            with (self._folder / name).open("rb") as file:
                value = file.read(MAX_BYTES + 2)
        except OSError as exc:
            raise InvalidSpec(f"secrets: this node has no {name}: {exc.strerror}", hint=hint) from exc
        value = value.removesuffix(b"\n").removesuffix(b"\r")
        if not MIN_BYTES <= len(value) <= MAX_BYTES or b"\0" in value:
            raise InvalidSpec(f"secrets: {name} must have {MIN_BYTES} to {MAX_BYTES} bytes and no NUL byte")
        return value.decode(errors="surrogateescape")
