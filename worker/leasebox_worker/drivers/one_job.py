"""How does one run a program in a sandbox with nothing but its channel? Just enough of the guest's frames for a probe.

Jobs go through `guestlink`; this is for a driver's own self-check and conformance, which stand below it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from leasebox.contract.errors import StartFailed
from leasebox_guest.frames import Decoder, Kind, pack, pack_json
from leasebox_worker.drivers import hardening
from leasebox_worker.drivers.base import Channel

_STREAM_BYTES = 64 << 20
_CODE_PORTION = 1 << 19


@dataclass(frozen=True)
class Ended:
    """How a program ended; `error` when it could not be started."""

    code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    error: str | None


class Guest:
    """The agent at the other end of a channel; one program at a time."""

    def __init__(self, channel: Channel, workspace: str) -> None:
        """Says nothing yet."""
        self._channel = channel
        self._workspace = workspace
        self._decoder = Decoder()

    def ready(self, within_s: float) -> dict[str, object]:
        """Wait for READY and return what it says.

        Raises:
            StartFailed: It did not come in time.
            ChannelClosed: The agent died.
        """
        for kind, payload in self._frames(within_s):
            if kind == Kind.READY:
                said: dict[str, object] = json.loads(payload)
                return said
        raise StartFailed("the agent was not ready in time")

    def resync(self, within_s: float) -> dict[str, object]:
        """Begin again on a channel that was attached to a running agent."""
        self._channel.send(pack_json(Kind.RESYNC, {}))
        return self.ready(within_s)

    def run(self, code: bytes, within_s: float) -> Ended:
        """Run a Python program without input.

        Raises:
            StartFailed: The agent refused it, or it did not end in time.
            ChannelClosed: The agent died.
        """
        self._channel.send(pack_json(Kind.EXEC, self._exec(code, within_s)))
        for at in range(0, len(code), _CODE_PORTION):
            self._channel.send(pack(Kind.CODE, code[at : at + _CODE_PORTION]))
        self._channel.send(pack(Kind.STDIN, b""))
        out, errors = bytearray(), bytearray()
        for kind, payload in self._frames(within_s + 5):
            match kind:
                case Kind.STDOUT:
                    out += payload
                case Kind.STDERR:
                    errors += payload
                case Kind.EXITED:
                    return _ended(json.loads(payload), bytes(out), bytes(errors))
                case Kind.REFUSED:
                    raise StartFailed(f"the agent refused: {payload.decode(errors='replace')}")
        raise StartFailed("the program did not end in time")

    def _exec(self, code: bytes, within_s: float) -> dict[str, object]:
        return {
            "id": "probe",
            "kind": "python",
            "argv": ["main.py"],
            "code_bytes": len(code),
            "code_path": "main.py",
            "cwd": self._workspace,
            "env": {"PATH": hardening.ENVIRONMENT["PATH"], "HOME": self._workspace},
            "wall_s": within_s,
            "cpu_s": None,
            "silence_s": None,
            "stream_bytes": _STREAM_BYTES,
            "line_buffered": False,
            "cancel_grace_s": 1.0,
        }

    def _frames(self, within_s: float) -> Iterator[tuple[int, bytes]]:
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            data = self._channel.receive(left_s)
            if data is not None:
                yield from self._decoder.feed(data)


def _ended(said: dict[str, object], out: bytes, errors: bytes) -> Ended:
    code, signal, error = said.get("code"), said.get("signal"), said.get("error")
    return Ended(
        code=code if isinstance(code, int) else None,
        signal=signal if isinstance(signal, int) else None,
        stdout=out,
        stderr=errors,
        error=error if isinstance(error, str) else None,
    )
