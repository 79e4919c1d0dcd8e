"""What a job is: `JobSpec`, its limits and bounds. Everything wrong is refused here, before it reaches the queue."""

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from leasebox.contract import names
from leasebox.contract.blobs import BLOB_ID
from leasebox.contract.callbacks import target_of
from leasebox.contract.domains import RULE
from leasebox.contract.errors import InvalidSpec
from leasebox.contract.faults import faults_text
from leasebox.contract.queues import Priority
from leasebox.contract.sizes import Bytes, Seconds, size_text

MAX_CODE_BYTES = 1 << 20
MAX_INLINE_BYTES = 256 << 10
MAX_FILES = 256
MAX_PATH_BYTES = 1024
MAX_ENV_NAMES = 64
MAX_ENV_BYTES = 32 << 10
MAX_ARGS = 1024
MAX_ARGS_BYTES = 128 << 10
MAX_OUTPUT_BYTES = 8 << 20
MAX_TIMEOUT_S = 3600.0
MAX_SPECS = 1000
WORKSPACE = PurePosixPath("/workspace")
LANGUAGES = ("python", "bash", "javascript", "typescript", "go", "rust", "java", "c", "cpp", "ruby", "php", "perl")
ENV_NAME = re.compile(names.ENV_NAME)
ENV_REFUSED = re.compile(
    r"LD_.*|GCONV_PATH|PATH|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|NODE_OPTIONS"
    r"|PYTHON(STARTUP|PATH|HOME|INSPECT|BREAKPOINT|USERBASE|EXECUTABLE|WARNINGS|PLATLIBDIR|PYCACHEPREFIX|_PRESITE)"
)
SANDBOX_LIMITS = ("cpus", "memory_bytes", "pids", "open_files", "disk_bytes", "tmp_bytes")
"""Limits that belong to the sandbox as a whole; a session's jobs share them."""

SessionName = Annotated[str, StringConstraints(pattern=names.SESSION_NAME)]
ProfileName = Annotated[str, StringConstraints(pattern=names.LABEL)]
TenantName = Annotated[str, StringConstraints(pattern=names.LABEL)]
SecretName = Annotated[str, StringConstraints(pattern=names.SECRET_NAME)]
Domain = Annotated[str, StringConstraints(pattern=RULE, max_length=253)]


class Kind(StrEnum):
    """What a job does; `file` is made by `session.files` alone."""

    PROGRAM = "program"
    CELL = "cell"
    COMMAND = "command"
    FILE = "file"


def workspace_path(text: str) -> str:
    """Give `text` as a path relative to /workspace.

    Raises:
        ValueError: It is empty, leaves /workspace, holds `..` or NUL, or is longer than 1024 bytes.
    """
    if "\0" in text:
        raise ValueError("a path must not hold a NUL byte")
    if not text or len(text.encode(errors="surrogateescape")) > MAX_PATH_BYTES:
        raise ValueError(f"a path has 1 to {MAX_PATH_BYTES} bytes")
    path = PurePosixPath(text)
    if ".." in path.parts:
        raise ValueError("a path must not hold '..'")
    if path.is_absolute():
        if not path.is_relative_to(WORKSPACE):
            raise ValueError("an absolute path must be below /workspace")
        path = path.relative_to(WORKSPACE)
    return str(path)


def _file_path(text: str) -> str:
    path = workspace_path(text)
    if path == ".":
        raise ValueError("a file needs a name")
    return path


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _callback_url(text: str) -> str:
    target_of(text)
    return text


CallbackUrl = Annotated[str, AfterValidator(_callback_url)]
WorkspacePath = Annotated[str, AfterValidator(workspace_path)]
FilePath = Annotated[str, AfterValidator(_file_path)]
Glob = FilePath
"""`*` and `?` stand for parts of one name, `**` for any folders; relative to /workspace."""
PositiveSeconds = Annotated[Seconds, AfterValidator(_finite), Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Limits(_Model):
    """What a job may use; None means the profile's value. A caller may tighten, never loosen.

    `output_bytes` is what the Result keeps per stream; `stream_bytes` is what both streams together may write before
    the job ends `output_limit`.
    """

    timeout_s: PositiveSeconds | None = Field(default=None, le=MAX_TIMEOUT_S)
    cpu_s: PositiveSeconds | None = Field(default=None, le=MAX_TIMEOUT_S * 64)
    silence_s: PositiveSeconds | None = Field(default=None, le=MAX_TIMEOUT_S)
    cpus: float | None = Field(default=None, gt=0, le=1024)
    memory_bytes: Bytes | None = Field(default=None, ge=16 << 20)
    pids: int | None = Field(default=None, ge=4, le=32768)
    open_files: int | None = Field(default=None, ge=16, le=1 << 20)
    disk_bytes: Bytes | None = Field(default=None, ge=64 << 10)
    tmp_bytes: Bytes | None = Field(default=None, ge=64 << 10)
    output_bytes: Bytes | None = Field(default=None, ge=0, le=MAX_OUTPUT_BYTES)
    stream_bytes: Bytes | None = Field(default=None, ge=1)


class FileContent(_Model):
    """Content of one file: exactly one of text, base64 and blob (the id of an upload)."""

    text: str | None = None
    base64: str | None = None
    blob: Annotated[str, StringConstraints(pattern=BLOB_ID)] | None = None

    @model_validator(mode="after")
    def _one_content(self) -> "FileContent":
        if sum(part is not None for part in (self.text, self.base64, self.blob)) != 1:
            raise ValueError("give exactly one of text, base64 and blob")
        if self.size_bytes > MAX_INLINE_BYTES:
            raise ValueError(
                f"an inline file has at most {size_text(MAX_INLINE_BYTES)}, this one {size_text(self.size_bytes)}"
            )
        return self

    @property
    def size_bytes(self) -> int:
        """Bytes that travel inline."""
        if self.text is not None:
            return len(self.text.encode(errors="surrogateescape"))
        return len(self.base64) * 3 // 4 - self.base64[-2:].count("=") if self.base64 is not None else 0


class JobSpec(_Model):
    """One execution, as asked for. CONTRACT.md section 2 is the reference; bounds are this module's constants."""

    code: str | None = None
    command: list[str] | None = None
    entry: FilePath | None = None
    language: str = "python"
    args: list[str] = Field(default_factory=list, max_length=MAX_ARGS)
    stdin: str | FileContent | None = None
    stdin_open: bool = False
    cwd: WorkspacePath | None = None
    files: dict[FilePath, FileContent] = Field(default_factory=dict, max_length=MAX_FILES)
    env: dict[str, str] = Field(default_factory=dict, max_length=MAX_ENV_NAMES)
    secrets: list[SecretName] = Field(default_factory=list, max_length=MAX_ENV_NAMES)
    session: SessionName | None = None
    session_must_exist: bool = False
    stateful: bool = False
    context: SessionName = "default"
    profile: ProfileName | None = None
    limits: Limits = Limits()
    network: list[Domain] = Field(default_factory=list, max_length=64)
    priority: Priority = Priority.DEFAULT
    retries: int = Field(default=0, ge=0, le=10)
    expires_in_s: PositiveSeconds | None = None
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    artifacts: list[Glob] = Field(default_factory=list, max_length=64)
    metadata: dict[str, str] = Field(default_factory=dict, max_length=16)
    callback_url: CallbackUrl | None = None
    durable: bool = False

    @field_validator("language")
    @classmethod
    def _known_language(cls, value: str) -> str:
        if value not in LANGUAGES:
            raise ValueError(f"unknown language {value!r}; known: {', '.join(LANGUAGES)}")
        return value

    @field_validator("files", mode="wrap")
    @classmethod
    def _each_path_once(cls, value: object, handler: ValidatorFunctionWrapHandler) -> dict[str, FileContent]:
        found: dict[str, FileContent] = handler(value)
        if isinstance(value, Mapping) and len(found) < len(value):
            seen: dict[str, str] = {}
            for given in value:
                if (path := _file_path(given)) in seen:
                    raise ValueError(f"{seen[path]!r} and {given!r} are one path")
                seen[path] = given
        return found

    @field_validator("code")
    @classmethod
    def _code_size(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode(errors="surrogateescape")) > MAX_CODE_BYTES:
            raise ValueError(
                f"code has at most {size_text(MAX_CODE_BYTES)}; send a longer program as a file with `entry`"
            )
        return value

    @field_validator("command", "args")
    @classmethod
    def _argument_bounds(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return None
        if any("\0" in item for item in value):
            raise ValueError("an argument must not hold a NUL byte")
        if sum(len(item.encode(errors="surrogateescape")) + 1 for item in value) > MAX_ARGS_BYTES:
            raise ValueError(f"arguments have at most {size_text(MAX_ARGS_BYTES)} together")
        return value

    @field_validator("command")
    @classmethod
    def _command_named(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or not value[0] or len(value) > MAX_ARGS):
            raise ValueError(f"a command has a program and at most {MAX_ARGS - 1} arguments")
        return value

    @field_validator("stdin")
    @classmethod
    def _stdin_bound(cls, value: str | FileContent | None) -> str | FileContent | None:
        if isinstance(value, str) and len(value.encode(errors="surrogateescape")) > MAX_INLINE_BYTES:
            raise ValueError(f"inline stdin has at most {size_text(MAX_INLINE_BYTES)}")
        return value

    @field_validator("env")
    @classmethod
    def _env_bounds(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if ENV_NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is no name of a variable: {names.IN_WORDS[names.ENV_NAME]}")
            if "\0" in text:
                raise ValueError(f"the value of {name} must not hold a NUL byte")
        if sum(len(n) + len(t.encode(errors="surrogateescape")) + 2 for n, t in value.items()) > MAX_ENV_BYTES:
            raise ValueError(f"the environment has at most {size_text(MAX_ENV_BYTES)} together")
        return value

    @field_validator("metadata")
    @classmethod
    def _metadata_bounds(cls, value: dict[str, str]) -> dict[str, str]:
        if any(len(n.encode()) > 256 or len(t.encode()) > 256 for n, t in value.items()):
            raise ValueError("a metadata name or value has at most 256 bytes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "JobSpec":
        if sum(part is not None for part in (self.code, self.command, self.entry)) != 1:
            raise ValueError("give exactly one of code, command and entry")
        if self.stdin_open and (self.stdin is not None or self.retries):
            raise ValueError("stdin_open goes with neither stdin nor retries")
        if self.session_must_exist and self.session is None:
            raise ValueError("session_must_exist needs a session")
        if self.stateful and (self.session is None or self.code is None or self.language != "python"):
            raise ValueError("stateful needs a session and python code")
        if self.stateful and self.secrets:
            raise ValueError("secrets: a kept interpreter would keep them; run what needs them without stateful")
        return self

    @property
    def blobs(self) -> tuple[str, ...]:
        """The uploads that it brings, each once."""
        stdin = [self.stdin] if isinstance(self.stdin, FileContent) else []
        return tuple(sorted({content.blob for content in (*self.files.values(), *stdin) if content.blob is not None}))

    @property
    def kind(self) -> Kind:
        """What the worker does with it."""
        if self.stateful:
            return Kind.CELL
        return Kind.COMMAND if self.command is not None else Kind.PROGRAM


def parse_spec(data: object) -> JobSpec:
    """Validate a mapping as a JobSpec.

    Raises:
        InvalidSpec: Names each wrong field and its bound. Nothing was queued.
    """
    if not isinstance(data, dict):
        raise InvalidSpec("a job must be an object")
    try:
        return JobSpec.model_validate(data)
    except ValidationError as exc:
        raise InvalidSpec(faults_text(exc.errors())) from exc


canonical_text = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""JSON of one form for equal values: keys sorted, no blanks, ASCII; one encoder, since making one costs as much."""


def canonical_data(spec: JobSpec) -> dict[str, object]:
    """The spec as it stands in the record, there as `canonical_text`: only what differs from the defaults."""
    data = spec.model_dump(mode="json", exclude_defaults=True)
    if spec.files:
        # pydantic would replace the bytes of a name that are no UTF-8, and so make one file of two.
        data["files"] = {path: content.model_dump(exclude_defaults=True) for path, content in spec.files.items()}
    return data
