"""Which of the files that a job left does a caller mean?"""

from leasebox.contract.errors import FileError
from leasebox.contract.result import Artifact, Result
from leasebox.contract.spec import workspace_path


def named(result: Result, path: str) -> Artifact:
    """The artifact of that path, relative to /workspace or absolute below it.

    Raises:
        FileError: The job left none of that name; the hint says why, where the worker did.
    """
    try:
        wanted = workspace_path(path)
    except ValueError as exc:
        raise FileError(f"{path!r}: {exc}", code="outside_workspace") from exc
    for artifact in result.artifacts:
        if artifact.path == wanted:
            return artifact
    hint = result.message or "name it in the job's `artifacts`"
    raise FileError(f"job {result.job} left no artifact {wanted!r}", code="not_found", hint=hint)
