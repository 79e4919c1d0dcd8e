"""What does a cell show? The parts of a bundle put together, within bounds, and read as the claim of an enemy."""

import json
import re

from leasebox.contract.errors import GuestProtocolError
from leasebox_guest.frames import DisplayMeter, FrameError
from leasebox_worker.guestlink.messages import Display, DisplayPart, Input

_MIME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,63}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,63}(;[ -~]{0,63})?")
MAX_TYPES = 32
NOT_A_BUNDLE = b'{"text/plain":"(something was shown that is no MIME bundle)"}'


class Displays:
    """The bundles of one cell; memory stays below the bound of one bundle."""

    def __init__(self) -> None:
        self._meter = DisplayMeter()
        self._data = bytearray()

    def add(self, part: DisplayPart) -> Display | None:
        """Take a part; the bundle if it was the last one.

        Raises:
            GuestProtocolError: More than an agent lets pass.
        """
        self._count(len(part.data), is_last=part.is_last)
        self._data += part.data
        if not part.is_last:
            return None
        data, self._data = bytes(self._data), bytearray()
        return Display(bundle_json(data))

    def add_prompt(self, prompt: Input) -> None:
        """Count a prompt: they are bounded together with the bundles.

        Raises:
            GuestProtocolError: As for `add`.
        """
        self._count(len(prompt.prompt), is_last=True)

    def _count(self, size_bytes: int, *, is_last: bool) -> None:
        try:
            self._meter.add(size_bytes, is_last=is_last)
        except FrameError as exc:
            raise GuestProtocolError(str(exc)) from exc


def bundle_json(data: bytes) -> bytes:
    """A bundle as it goes to the stream and the Result: what is no map from MIME types to data is replaced by a note.

    The agent passes bundles on unread, so a cell may write whatever it likes: no reason to end its sandbox.
    """
    try:
        bundle = json.loads(data)
        if not _is_bundle(bundle):
            return NOT_A_BUNDLE
        # Half surrogates and NaN are JSON to Python alone.
        text = json.dumps(bundle, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(errors="replace")
    except (ValueError, RecursionError):
        return NOT_A_BUNDLE


def _is_bundle(bundle: object) -> bool:
    return (
        isinstance(bundle, dict)
        and 0 < len(bundle) <= MAX_TYPES
        and all(_MIME.fullmatch(mime) for mime in bundle)
        and all(isinstance(part, str) or "json" in mime for mime, part in bundle.items())
    )
