"""What does an interpreter say of the cell it runs? Every word is its claim: checked, bounded, else it is ended."""

from __future__ import annotations

import json
import os

from leasebox_guest.frames import Decoder, DisplayMeter, FrameError, Kind

_ERROR_BOUNDS = {"name": 256, "message": 4096, "traceback": 32 << 10}
"""Characters; with the escapes of JSON they fit into one frame."""


class ChannelBroken(Exception):
    """The interpreter said what it may not say; its state is of no use any more."""


class Cell:
    """One cell, as its interpreter tells of it.

    Attributes:
        id: Random, so that no guess ends another cell.
        has_begun: It has read the cell.
        status: The exit code of the cell; None until it has ended.
        error: Name, message and traceback of what it raised.
        wants_restart: The interpreter is to end with this cell.
    """

    def __init__(self) -> None:
        self.id = os.urandom(16).hex()
        self.has_begun = False
        self.status: int | None = None
        self.error: dict[str, str] | None = None
        self.wants_restart = False
        self._decoder = Decoder()
        self._meter = DisplayMeter()
        self._apart = DisplayMeter(is_apart=True)

    def hear(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """Take what was read; what is to go on to the host, as (kind, payload). Nothing counts behind the end.

        Raises:
            ChannelBroken: It is no frame, of no kind for here, too much, or ends another cell.
        """
        onward: list[tuple[Kind, bytes]] = []
        try:
            for number, payload in self._decoder.feed(data):
                if self.status is not None:
                    break
                kind = Kind(number)
                if kind is Kind.STARTED:
                    self._check_id(payload.decode())
                    self.has_begun = True
                elif kind is Kind.EXITED:
                    self._end(payload)
                else:
                    self._count(kind, payload)
                    onward.append((kind, payload))
        except (FrameError, ValueError, KeyError, TypeError, RecursionError) as exc:
            raise ChannelBroken(str(exc)[:200]) from exc
        return onward

    def _count(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.INPUT:
            if not isinstance(json.loads(payload)["prompt"], str):
                raise ValueError("a prompt that is no text")
            self._meter.add(len(payload))
            return
        if kind is not Kind.DISPLAY or payload[:1] not in (b"\0", b"\1", b"\2", b"\3"):
            raise ValueError(f"a frame of kind {kind}")
        meter = self._apart if payload[0] & 2 else self._meter
        meter.add(len(payload) - 1, is_last=not payload[0] & 1)

    def _end(self, payload: bytes) -> None:
        fields = json.loads(payload)
        self._check_id(fields["cell"])
        error = fields["error"]
        if error is not None:
            error = {name: str(error[name])[:bound] for name, bound in _ERROR_BOUNDS.items()}
        self.error = error
        self.wants_restart = fields["restart"] is True
        self.status = int(fields["status"]) & 0xFF

    def _check_id(self, ident: str) -> None:
        if ident != self.id:
            raise ValueError("not of this cell")
