"""What does a job leave in its workspace that its Result tells?"""

from dataclasses import dataclass, field

from leasebox.contract.result import Artifact


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file of a workspace; `mark` changes with its content and its place."""

    path: str
    size_bytes: int
    mark: str


@dataclass(slots=True)
class Left:
    """Files of a job: those that are kept, all that are new or changed, and what there is to say of them."""

    artifacts: list[Artifact] = field(default_factory=list)
    new_files: list[str] = field(default_factory=list)
    message: str = ""


def shown(path: str) -> str:
    """A path as a Result can hold it: bytes that are not UTF-8 are replaced."""
    return path.encode(errors="surrogateescape").decode(errors="replace")
