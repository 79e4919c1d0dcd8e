"""What may be done to the files of a session, and what is told about one? The `spec` of records of kind `file`."""

import json
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import FileContent, FilePath, WorkspacePath

MAX_DEPTH = 64
MAX_ENTRIES = 10_000
MAX_PACKED = 1000
MAX_ARTIFACTS = 256
MAX_ARTIFACTS_BYTES = 256 << 20
MAX_NEW_FILES = 1000
OPERATION_TTL_S = 600.0
"""So long is kept what an operation answered, and what it brought."""


class Verb(StrEnum):
    """One operation; `unpack` and `pack` carry many files in the guest's own form (`leasebox_guest.files.put`)."""

    WRITE = "write"
    READ = "read"
    LIST = "list"
    STAT = "stat"
    MKDIR = "mkdir"
    MOVE = "move"
    REMOVE = "remove"
    UNPACK = "unpack"
    PACK = "pack"
    EXTRACT = "extract"


class Archive(StrEnum):
    """What `extract` unpacks; a tar may be compressed with gzip, bzip2 or xz."""

    TAR = "tar"
    ZIP = "zip"


class EntryType(StrEnum):
    """What a name stands for; links are told, never followed."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


class Entry(BaseModel):
    """What is known of one name in a workspace.

    Attributes:
        path: Relative to /workspace; bytes that are not UTF-8 stand in it as `os.fsdecode` gives them.
        modified_at: Unix seconds.
        mode: Permission bits.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)

    path: str
    type: EntryType
    size_bytes: int
    modified_at: float
    mode: int


class FileOperation(BaseModel):
    """One operation on the files of a session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: Verb
    path: WorkspacePath = "."
    to: FilePath | None = None
    depth: int = Field(default=1, ge=1, le=MAX_DEPTH)
    content: FileContent | None = None
    archive: Archive | None = None
    paths: list[FilePath] = Field(default_factory=list, max_length=MAX_PACKED)

    @model_validator(mode="after")
    def _complete(self) -> "FileOperation":
        if (self.content is not None) != (self.verb in (Verb.WRITE, Verb.UNPACK, Verb.EXTRACT)):
            raise ValueError("content belongs to write, unpack and extract alone")
        if (self.archive is not None) != (self.verb is Verb.EXTRACT):
            raise ValueError("archive belongs to extract alone")
        if (self.to is not None) != (self.verb is Verb.MOVE):
            raise ValueError("to belongs to move alone")
        if self.path == "." and self.verb in (Verb.WRITE, Verb.READ, Verb.MOVE, Verb.REMOVE):
            raise ValueError("path: a file needs a name")
        return self

    @property
    def blobs(self) -> tuple[str, ...]:
        """The upload that it brings."""
        return (self.content.blob,) if self.content is not None and self.content.blob is not None else ()


def operation_json(operation: FileOperation) -> bytes:
    """The operation as it stands in the record; names that are not UTF-8 survive."""
    data = operation.model_dump(exclude_defaults=True)
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def parse_operation(data: bytes) -> FileOperation:
    """The operation of a record.

    Raises:
        InvalidSpec: It was not written by a client of this contract.
    """
    try:
        return FileOperation.model_validate(json.loads(data))
    except ValidationError as exc:
        raise InvalidSpec("; ".join(_told(error) for error in exc.errors()[:4])) from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidSpec("the record's operation is not JSON") from exc


def _told(error: object) -> str:
    assert isinstance(error, dict)
    where = ".".join(str(part) for part in error["loc"])
    what = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
