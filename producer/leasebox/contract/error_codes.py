"""Errors by their code: from what a result, an answer or a queue says, back to the class."""

from leasebox.contract import errors
from leasebox.contract.errors import FileError, LeaseboxError

FILE_CODES = ("not_found", "too_large", "not_a_file", "outside_workspace")
BY_CODE = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LeaseboxError)
}
"""The closed table from which an error is rebuilt from `code` and `detail`; an unknown code is a `LeaseboxError`."""


def rebuild(code: str, detail: str, hint: str | None = None) -> LeaseboxError:
    """Make the error that `code` names."""
    if code in FILE_CODES:
        return FileError(detail, hint=hint, code=code)
    return BY_CODE.get(code, LeaseboxError)(detail, hint=hint)
