"""How the flags of `leasebox run` become the fields of a spec."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.sizes import parse_bytes, parse_seconds

LANGUAGE_OF = {
    ".py": "python", ".sh": "bash", ".bash": "bash", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".ts": "typescript", ".go": "go", ".rs": "rust", ".java": "java", ".c": "c", ".cc": "cpp", ".cpp": "cpp",
    ".cxx": "cpp", ".rb": "ruby", ".php": "php", ".pl": "perl",
}  # fmt: skip
ENDINGS = ", ".join(f"{ending} {language}" for ending, language in LANGUAGE_OF.items())
_TELLING = (".mjs", ".cjs")
"""Endings that the language itself goes by: such a program keeps its name."""


def program(source: str | None, code: str | None, args: Sequence[str]) -> dict[str, Any]:
    """The fields `code`, or `entry` and `files`, `args` and, by the file's ending, `language`.

    Raises:
        BadParameter: No program was given, or it cannot be read.
    """
    if code is not None:
        # With -c there is no FILE: what stands first behind the flags is an argument of the program.
        return {"code": code, "args": [*([source] if source is not None else []), *args]}
    if source is None:
        raise typer.BadParameter("give a FILE, -c CODE, or - for standard input")
    if source == "-":
        return {"code": _text(sys.stdin.buffer.read(), "standard input"), "args": list(args)}
    path = Path(source)
    try:
        text = _text(path.read_bytes(), source)
    except OSError as exc:
        raise typer.BadParameter(f"cannot read {source}: {exc.strerror}") from exc
    language = LANGUAGE_OF.get(path.suffix.lower())
    program = {"entry": path.name, "files": {path.name: path}} if path.suffix in _TELLING else {"code": text}
    return {**program, "args": list(args)} | ({"language": language} if language else {})


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise typer.BadParameter(f"{name} is not UTF-8 text") from exc


def files(given: Sequence[str], program: Mapping[str, bytes | Path]) -> dict[str, bytes | Path]:
    """`HOST[:PATH]` each; without PATH the file keeps its name, directly in /workspace.

    Args:
        program: The files of `program`.

    Raises:
        BadParameter: A path is given twice, or a file cannot be read.
    """
    found = {**program}
    for item in given:
        host, _, inside = item.partition(":")
        path = inside or Path(host).name
        if path in found:
            raise typer.BadParameter(f"--file {item}: {path} is given twice")
        found[path] = _content(f"--file {item}", Path(host))
    return found


def _content(option: str, path: Path) -> bytes | Path:
    # A pipe (`--stdin <(...)`) or a device can be read once and has no size.
    if path.is_file():
        return path
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BLOB_BYTES + 1)
    except OSError as exc:
        raise typer.BadParameter(f"{option}: cannot read {path}: {exc.strerror}") from exc


def utf8(given: Sequence[str] | None) -> Sequence[str] | None:
    """What is looked up as it is: an id, a name, or several; a callback of its argument or option.

    Raises:
        BadParameter: The shell gave bytes that are no UTF-8.
    """
    try:
        "".join(given or ()).encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("must be text in UTF-8") from None
    return given


def named_values(option: str, given: Sequence[str]) -> dict[str, str]:
    """`K=V` each."""
    found: dict[str, str] = {}
    for item in given:
        name, mark, value = item.partition("=")
        if not mark:
            raise typer.BadParameter(f"{option} {item}: write NAME=VALUE")
        found[name] = value
    return found


def is_live(given: str | None, is_program_there: bool, *, is_detached: bool, may_repeat: bool) -> bool:
    """Whether our own standard input is passed on as it comes.

    Args:
        is_program_there: The program's source comes from it.
        is_detached: Nobody waits here while the job runs.
        may_repeat: What was read once might be needed again: by a further attempt, or by a repeat of the submit.
    """
    if given not in (None, "-") or is_program_there or is_detached or may_repeat:
        return False
    from leasebox.cli.live_input import Source, source

    return given == "-" or source() is not Source.NOTHING


def standard_input(given: str | None, is_program_there: bool) -> bytes | Path | None:
    """What `--stdin` names: a file, or the whole of our own standard input."""
    if given is None:
        return None
    if given != "-":
        return _content(f"--stdin {given}", Path(given))
    if is_program_there:
        raise typer.BadParameter("standard input is the program already; give --stdin a file")
    return sys.stdin.buffer.read()


def limits(timeout: str | None, memory: str | None) -> dict[str, Any]:
    """`--timeout` and `--memory`, with units; what is not given is left out."""
    found = {"timeout_s": seconds("--timeout", timeout), "memory_bytes": size("--memory", memory)}
    return {name: value for name, value in found.items() if value is not None}


def seconds(option: str, given: str | None) -> float | None:
    """A duration that an option gives, in seconds and above 0.

    Raises:
        BadParameter: It is none; the option is named.
    """
    return _quantity(option, given, parse_seconds)


def size(option: str, given: str | None) -> int | None:
    """A size that an option gives, in bytes and above 0.

    Raises:
        BadParameter: It is none; the option is named.
    """
    found = _quantity(option, given, parse_bytes)
    return None if found is None else int(found)


def _quantity(option: str, given: str | None, parse: Callable[[object], object]) -> float | None:
    if given is None:
        return None
    try:
        found = parse(given)
    except ValueError as exc:
        raise typer.BadParameter(f"{option}: {exc}") from None
    assert isinstance(found, int | float)
    if found <= 0:
        raise typer.BadParameter(f"{option}: {given} is not above 0")
    return found
