"""What does a cell tell besides its output? Events of the stream, and in the Result what it showed and raised."""

import json
from dataclasses import dataclass, field
from typing import Any

from leasebox.contract.result import Failure
from leasebox_worker.engine.publisher import Publisher
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.guestlink.messages import Display, Exited, Input, Restarted


@dataclass(slots=True)
class Told:
    """What one attempt has told of its cell, or of the interpreter that it left alone."""

    bundles: list[dict[str, Any]] = field(default_factory=list)
    error: Failure | None = None
    interpreter: str = "none"

    def publish(self, message: Display | Input | Restarted, publisher: Publisher, sandbox: Sandbox) -> None:
        """Turn a message into an event of the job's stream."""
        match message:
            case Display(data):
                self.bundles.append(json.loads(data))
                publisher.add_event("display", b'{"bundle":' + data + b"}")
            case Input(prompt):
                publisher.add_event("input", json.dumps({"prompt": prompt}).encode())
            case Restarted(reason):
                by = "oom" if sandbox.interpreter_was_oom else reason
                sandbox.interpreter_was_oom = False
                publisher.add_event("session_restarted", json.dumps({"reason": f"interpreter_{by}"}).encode())

    def ended(self, exited: Exited, sandbox: Sandbox, *, was_oom: bool) -> None:
        """Take what the end says of the interpreter."""
        self.interpreter = exited.interpreter
        if exited.failure is not None:
            failure = exited.failure
            self.error = Failure(name=failure.name, message=failure.message, traceback=failure.traceback or None)
        if exited.interpreter == "lost":
            sandbox.interpreter_was_oom = was_oom
