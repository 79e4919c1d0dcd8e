"""What does a job leave in its workspace that its Result tells?"""

from dataclasses import dataclass, field

from leasebox.contract.result import Artifact


@dataclass(slots=True)
class Left:
    """Files of a job: those that are kept, all that are new or changed, and what there is to say of them."""

    artifacts: list[Artifact] = field(default_factory=list)
    new_files: list[str] = field(default_factory=list)
    message: str = ""
