"""Who has the room for one more sandbox of a full node? Whoever holds its place."""

from collections.abc import Callable


class Place:
    """Room for one sandbox of the node, until a sandbox has taken it or it is given back."""

    def __init__(self, release: Callable[["Place"], None]) -> None:
        self._release = release

    def release(self) -> None:
        """Give it back; nothing happens if a sandbox has it, or a second time."""
        self._release(self)
