"""What does the host see while a round runs? Programs of one job in two places at once, and whose sandboxes there were.

A program writes its job's number into its own name (`comm`, proc(5)), which the host sees wherever its sandbox is.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
PERIOD_S = 0.1
_HELD_OR_DEAD = "TtZXx"


def sign_of(seed: int) -> str:
    """First part of the names of a round's programs; a name has 15 bytes at most."""
    return f"lb{seed % 0x100000:x}"


class Watcher(threading.Thread):
    """Looks some times a second, until stopped.

    Attributes:
        seen: Numbers of jobs whose program was met.
        twins: Jobs of which two programs were running, as pids.
        sandboxes: Names of state folders, for `leftovers`: a cgroup does not tell whose it was.
    """

    def __init__(self, home: Path, sign: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self._home = home
        self._sign = f"{sign}-"
        self._stop_now = threading.Event()
        self.seen: set[int] = set()
        self.twins: dict[int, list[int]] = {}
        self.sandboxes: set[str] = set()

    def run(self) -> None:
        """See the class."""
        while not self._stop_now.wait(PERIOD_S):
            self.look()

    def stop(self) -> None:
        """Look no more."""
        self._stop_now.set()
        self.join()

    def look(self) -> None:
        """Look once."""
        self.sandboxes |= {path.name for path in (self._home / "sandboxes").glob("*/*")}
        found = self._programs(int(path.name) for path in PROC.glob("[0-9]*"))
        self.seen |= set(found)
        for job, pids in found.items():
            # Again, for both: the first may have ended before the second was met.
            still = self._programs(pids).get(job, [])
            if len(still) > 1:
                self.twins[job] = still

    def _programs(self, pids: Iterable[int]) -> dict[int, list[int]]:
        found = defaultdict(list)
        for pid in pids:
            try:
                text = (PROC / str(pid) / "stat").read_text()
            except OSError:
                continue
            name, _, rest = text.partition("(")[2].rpartition(")")
            if name.startswith(self._sign) and rest.split()[0] not in _HELD_OR_DEAD:
                found[int(name.removeprefix(self._sign))].append(pid)
        return found
