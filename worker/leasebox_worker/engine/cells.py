"""What does a cell tell besides its output? Events of the stream, and in the Result what it showed and raised."""

import json
from dataclasses import dataclass, field
from typing import Any

from leasebox.contract.result import ARTIFACTS_MIME, Failure
from leasebox_worker.engine.apart import Apart
from leasebox_worker.engine.left import Left
from leasebox_worker.engine.publisher import Publisher
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.guestlink.messages import Display, Exited, Input, Restarted


@dataclass(slots=True)
class Told:
    """What one attempt has told of its cell, or of the interpreter that it left alone."""

    bundles: list[dict[str, Any]] = field(default_factory=list)
    apart: Apart = field(default_factory=Apart)
    error: Failure | None = None
    interpreter: str = "none"

    def show(self, message: Display, publisher: Publisher, left: Left) -> None:
        """Turn a bundle into an event and a result; what came apart becomes artifacts, which the bundle names."""
        data, bundle = message.bundle_json, json.loads(message.bundle_json)
        found = self.apart.take(message.apart, len(self.bundles) + 1, [artifact.path for artifact in left.artifacts])
        if found:
            left.artifacts += found.values()
            bundle[ARTIFACTS_MIME] = {mime: artifact.path for mime, artifact in found.items()}
            data = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()
        self.bundles.append(bundle)
        publisher.add_event("display", b'{"bundle":' + data + b"}")

    def publish(self, message: Input | Restarted, publisher: Publisher, sandbox: Sandbox) -> None:
        """Turn a message into an event of the job's stream."""
        match message:
            case Input(prompt):
                publisher.add_event("input", json.dumps({"prompt": prompt}).encode())
            case Restarted(reason):
                by = "oom" if sandbox.interpreter_was_oom else reason
                sandbox.interpreter_was_oom = False
                publisher.add_event("session_restarted", json.dumps({"reason": f"interpreter_{by}"}).encode())

    def ended(self, exited: Exited, sandbox: Sandbox, *, was_oom: bool) -> None:
        """Take what the end says of the interpreter."""
        self.apart.end()
        self.interpreter = exited.interpreter
        if exited.failure is not None:
            failure = exited.failure
            self.error = Failure(name=failure.name, message=failure.message, traceback=failure.traceback or None)
        if exited.interpreter == "lost":
            sandbox.interpreter_was_oom = was_oom
