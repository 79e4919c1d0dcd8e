"""What is a job, as EXEC describes it? Read and checked before anything is started."""

from __future__ import annotations

import json
from enum import StrEnum


class SpecError(ValueError):
    """The EXEC is not one; the text says which field."""


class JobKind(StrEnum):
    """How the child goes on after it has become the job's uid."""

    PYTHON = "python"
    COMMAND = "command"
    CELL = "cell"
    PUT = "put"
    GET = "get"
    FILE = "file"


class Spec:
    """The fields of EXEC (INTERFACES: seconds as float, None = no such limit)."""

    __slots__ = (
        "argv",
        "cancel_grace_s",
        "code_bytes",
        "code_path",
        "cpu_s",
        "cwd",
        "env",
        "id",
        "kind",
        "line_buffered",
        "more_soon",
        "silence_s",
        "stream_bytes",
        "wall_s",
    )

    def __init__(self, payload: bytes, workspace: str) -> None:
        """Read EXEC.

        Raises:
            SpecError: It is no JSON object, a field is missing, unknown or of the wrong type, or the folder is outside
                the workspace.
        """
        fields = _object(payload)
        if unknown := set(fields) - set(self.__slots__):
            raise SpecError(f"unknown field {sorted(unknown)[0]!r}")
        self.id = _text(fields, "id")
        try:
            self.kind = JobKind(_text(fields, "kind"))
        except ValueError as exc:
            raise SpecError(f"kind {fields['kind']!r}") from exc
        self.argv = _argv(fields)
        self.env = _env(fields)
        self.cwd = _text(fields, "cwd")
        if (self.cwd + "/")[: len(workspace) + 1] != workspace + "/" or ".." in self.cwd.split("/"):
            raise SpecError("cwd is outside the workspace")
        self.code_bytes = int(_number(fields, "code_bytes", 0))
        self.code_path = _text(fields, "code_path") if fields.get("code_path") is not None else None
        if self.code_bytes and not self.code_path and self.kind is not JobKind.CELL:
            raise SpecError("code_bytes without code_path")
        self.wall_s = _number(fields, "wall_s")
        self.cpu_s = None if fields.get("cpu_s") is None else _number(fields, "cpu_s")
        self.silence_s = None if fields.get("silence_s") is None else _number(fields, "silence_s")
        self.stream_bytes = int(_number(fields, "stream_bytes"))
        self.cancel_grace_s = _number(fields, "cancel_grace_s", 1.0)
        self.line_buffered = fields.get("line_buffered", True) is True
        self.more_soon = fields.get("more_soon", True) is True


def announced(payload: bytes) -> tuple[str | None, int]:
    """The id and the size of the code of an EXEC that is refused, as far as they can be read."""
    try:
        fields = json.loads(payload)
        return fields["id"], int(fields.get("code_bytes", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, 0


def _object(payload: bytes) -> dict[str, object]:
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise SpecError("not JSON") from exc
    if not isinstance(fields, dict):
        raise SpecError("not an object")
    return fields


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise SpecError(f"{name} is no text")
    return value


def _number(fields: dict[str, object], name: str, default: float | None = None) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise SpecError(f"{name} is no number from 0 on")
    return value


def _argv(fields: dict[str, object]) -> list[str]:
    argv = fields.get("argv")
    if not isinstance(argv, list) or not all(isinstance(arg, str) and "\0" not in arg for arg in argv):
        raise SpecError("argv is no list of texts")
    if not argv and fields["kind"] not in (JobKind.PUT, JobKind.CELL):
        raise SpecError("argv is empty")
    return argv


def _env(fields: dict[str, object]) -> dict[str, str]:
    env = fields.get("env")
    if not isinstance(env, dict):
        raise SpecError("env is no object")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or not isinstance(value, str) or "\0" in value:
            raise SpecError(f"env {name!r}")
    return env
