"""Where does the sandbox of a claim stand? One place of the node, found before the claim, or made room for."""

from leasebox.contract.errors import StartFailed
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.place import Place

FULL_WAIT_S = 30.0
"""A session whose sandbox died on a full node waits so long for a place: its claim holds, nobody else may take it."""


class Berth:
    """The place of one thread for the next sandbox that it may have to make; used by that thread alone.

    Attributes:
        has_taken: A job got a sandbox that its session did not have yet: there may be one to make for the pool.
    """

    def __init__(self, deps: Deps) -> None:
        self.has_taken = False
        self._deps = deps
        self._place: Place | None = None

    def take(self) -> bool:
        """Reserve a place, if there is one."""
        self._place = self._deps.sandboxes.reserve()
        return self._place is not None

    def make_room(self) -> bool:
        """Reserve a place, for which a warm sandbox or an idle session may have to end."""
        refill = self._deps.refill
        self._place = refill.make_room() if refill is not None else self._deps.sandboxes.reserve()
        return self._place is not None

    def place(self) -> Place:
        """The place, for `make`: the reserved one, or one that is waited for.

        Raises:
            StartFailed: The node is full and stays so.
        """
        if self._place is None and not self.make_room():
            self._place = self._deps.sandboxes.reserve(FULL_WAIT_S)
        if self._place is None:
            raise StartFailed(f"no place for a sandbox came free on this full node within {FULL_WAIT_S:g} s")
        return self._place

    def leave(self) -> None:
        """Give the place back, unless a sandbox has it."""
        if self._place is not None:
            self._place.release()
            self._place = None
