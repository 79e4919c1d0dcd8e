"""How does one run commands in a session's sandbox? Each is a job of its line, with outputs and limits of its own.

A kept interpreter survives them with its variables: it stands still meanwhile.
"""

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.events import Event
from leasebox.contract.result import Result
from leasebox.contract.spec import Limits

SHELL = ("bash", "-c")
Command = str | Sequence[str]
Input = str | bytes | Path
OnEvent = Callable[[Event], object]
Handle = TypeVar("Handle")
Done = TypeVar("Done", covariant=True)
Queued = TypeVar("Queued", covariant=True)


class Line(Protocol[Done, Queued]):
    """What is needed of a session, of either world."""

    def run(self, *, check: bool, wait_s: float | None, on_event: OnEvent | None, **spec: Any) -> Done:
        """As `Session.run`."""

    def submit(self, **spec: Any) -> Queued:
        """As `Session.submit`."""


class Commands(Generic[Handle]):
    """The commands of one session; it is `session.commands`."""

    def __init__(self, session: Line[Result, Handle]) -> None:
        self._session = session

    def run(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Input | None = None,
        timeout_s: float | None = None,
        limits: Mapping[str, object] | Limits | None = None,
        check: bool = False,
        wait_s: float | None = None,
        on_event: OnEvent | None = None,
        **spec: Any,
    ) -> Result:
        """Run a command and wait for its end; what it leaves running ends with it.

        Args:
            command: A program and its arguments; or a text, which is a line for bash.
            cwd: Folder below /workspace.
            env: Beside what the session has, and before it.
            stdin: Its whole input; None is none.
            timeout_s: Short for `limits={"timeout_s": ...}`.
            limits: As of any job: they tighten what the profile allows.
            check: Raise the class of the outcome unless it is `ok`.
            wait_s: Longest wait; the command goes on after it.
            on_event: Called with each event as it comes, `finished` included.
            spec: Further fields of JobSpec.

        Raises:
            InvalidSpec: A field is wrong, or a process in the background was asked for. Nothing was queued.
            StreamTimeout: `wait_s` has passed.
            JobFailed: Only with `check`.
        """
        fields = job_of(command, spec, timeout_s, cwd=cwd, env=env, stdin=stdin, limits=limits)
        return self._session.run(check=check, wait_s=wait_s, on_event=on_event, **fields)

    def submit(self, command: Command, *, timeout_s: float | None = None, **spec: Any) -> Handle:
        """Queue a command, with the fields that `run` takes. As `Session.submit`."""
        return self._session.submit(**job_of(command, spec, timeout_s))


class AsyncCommands(Generic[Handle]):
    """`Commands` for one event loop."""

    def __init__(self, session: Line[Awaitable[Result], Awaitable[Handle]]) -> None:
        self._session = session

    async def run(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Input | None = None,
        timeout_s: float | None = None,
        limits: Mapping[str, object] | Limits | None = None,
        check: bool = False,
        wait_s: float | None = None,
        on_event: OnEvent | None = None,
        **spec: Any,
    ) -> Result:
        """Run a command and wait for its end; `on_event` may be a coroutine function. As `Commands.run`."""
        fields = job_of(command, spec, timeout_s, cwd=cwd, env=env, stdin=stdin, limits=limits)
        return await self._session.run(check=check, wait_s=wait_s, on_event=on_event, **fields)

    async def submit(self, command: Command, *, timeout_s: float | None = None, **spec: Any) -> Handle:
        """Queue a command. As `Commands.submit`."""
        return await self._session.submit(**job_of(command, spec, timeout_s))


def job_of(command: Command, spec: Mapping[str, Any], timeout_s: float | None, **fields: Any) -> dict[str, Any]:
    """The fields of the job that runs a command.

    Raises:
        InvalidSpec: It asks for a process in the background.
    """
    given = {**spec, **{name: value for name, value in fields.items() if value is not None}}
    if given.pop("background", False):
        raise _no_background()
    if timeout_s is not None:
        limits = given.get("limits") or {}
        asked = limits.model_dump(exclude_none=True) if isinstance(limits, Limits) else limits
        given["limits"] = {**asked, "timeout_s": timeout_s}
    return {**given, "command": argv_of(command)}


def argv_of(command: Command) -> list[str]:
    """Program and arguments: as they were given, or of the shell that reads a line.

    Raises:
        InvalidSpec: The line's last process would be left in the background.
    """
    if not isinstance(command, str):
        return list(command)
    if _ends_in_background(command):
        raise _no_background()
    return [*SHELL, command]


def _ends_in_background(line: str) -> bool:
    if line.rstrip().endswith("\\&"):
        return False
    try:
        words = list(shlex.shlex(line, posix=False, punctuation_chars=True))
    except ValueError:
        return False  # bash itself says what it cannot read
    return bool(words) and words[-1] == "&"


def _no_background() -> InvalidSpec:
    return InvalidSpec(
        "command: a process in the background ends with its command",
        hint="leave the last & out; within one command, `server & client; kill %1` works",
    )
