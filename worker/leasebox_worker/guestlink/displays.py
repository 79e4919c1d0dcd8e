"""What does a cell show? The parts of a bundle put together, within bounds, and read as the claim of an enemy."""

import json
import re
from typing import TypeGuard

from leasebox.contract.errors import GuestProtocolError
from leasebox.contract.result import ARTIFACTS_MIME
from leasebox_guest.frames import APART, DisplayMeter, FrameError
from leasebox_worker.guestlink.messages import ApartPart, Display, DisplayPart, Input

_MIME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,63}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,63}(;[ -~]{0,63})?")
MAX_TYPES = 32
NOT_A_BUNDLE = b'{"text/plain":"(something was shown that is no MIME bundle)"}'


class Displays:
    """The bundles of one cell; memory stays below the bound of one bundle."""

    def __init__(self) -> None:
        self._meter = DisplayMeter()
        self._apart = DisplayMeter(is_apart=True)
        self._data = bytearray()

    def add(self, part: DisplayPart) -> Display | None:
        """Take a part; the bundle if it was the last one.

        Raises:
            GuestProtocolError: More than an agent lets pass.
        """
        _count(self._meter, len(part.data), is_last=part.is_last)
        self._data += part.data
        if not part.is_last:
            return None
        data, self._data = bytes(self._data), bytearray()
        return display_of(data)

    def add_prompt(self, prompt: Input) -> None:
        """Count a prompt: they are bounded together with the bundles.

        Raises:
            GuestProtocolError: As for `add`.
        """
        _count(self._meter, len(prompt.prompt), is_last=True)

    def add_apart(self, part: ApartPart) -> None:
        """Count what comes before a bundle; its reader takes it as it comes.

        Raises:
            GuestProtocolError: As for `add`.
        """
        _count(self._apart, len(part.data), is_last=part.is_last)


def _count(meter: DisplayMeter, size_bytes: int, *, is_last: bool) -> None:
    try:
        meter.add(size_bytes, is_last=is_last)
    except FrameError as exc:
        raise GuestProtocolError(str(exc)) from exc


def display_of(data: bytes) -> Display:
    """A bundle as it goes to the stream and the Result: what is no map from MIME types to data is replaced by a note.

    The agent passes bundles on unread, so a cell may write whatever it likes: no reason to end its sandbox. Which
    artifacts belong to it is the worker's to say: a cell that says so is not believed.
    """
    try:
        bundle = json.loads(data)
        apart = _taken_out(bundle, APART)
        _taken_out(bundle, ARTIFACTS_MIME)
        if not _are_types(apart):
            apart = []
        if not _is_bundle(bundle) and not (bundle == {} and apart):
            return Display(NOT_A_BUNDLE)
        # Half surrogates and NaN are JSON to Python alone.
        text = json.dumps(bundle, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return Display(text.encode(errors="replace"), tuple(apart))
    except (ValueError, RecursionError):
        return Display(NOT_A_BUNDLE)


def _taken_out(bundle: object, name: str) -> object:
    return bundle.pop(name, None) if isinstance(bundle, dict) else None


def _are_types(named: object) -> TypeGuard[list[str]]:
    return (
        isinstance(named, list)
        and len(named) <= MAX_TYPES
        and all(isinstance(mime, str) and _MIME.fullmatch(mime) for mime in named)
        and len(named) == len(set(named))
    )


def _is_bundle(bundle: object) -> bool:
    return (
        isinstance(bundle, dict)
        and 0 < len(bundle) <= MAX_TYPES
        and all(_MIME.fullmatch(mime) for mime in bundle)
        and all(isinstance(part, str) or "json" in mime for mime, part in bundle.items())
    )
