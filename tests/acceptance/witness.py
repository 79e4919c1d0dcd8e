"""Who saw a program run? A thread that reads, from the host, what each run of it writes into its sandbox."""

import os
import threading
from contextlib import suppress
from pathlib import Path

PROGRAM = """
import sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
until = time.monotonic() + seconds
print("on", flush=True)
with open("ticks", "a", buffering=1) as ticks:
    while time.monotonic() < until:
        print(f"{time.time():.3f}", file=ticks)
        time.sleep(0.05)
print("end")
"""
"""Appends the time to a file every 50 ms; its command line carries its name, so that the host can find it."""


def command(name: str, seconds: float) -> list[str]:
    """The program under a name that no other process has."""
    return ["python3", "-c", PROGRAM, name, str(seconds)]


class Witness:
    """Follows every process that runs `command(name, ...)`, until `close`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_seen = threading.Event()
        self._ticks: dict[int, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def runs(self) -> list[tuple[float, float]]:
        """First and last tick of each process, in the order in which they began."""
        found = []
        for text in list(self._ticks.values()):
            times = [float(line) for line in text.splitlines() if line.count(".") == 1 and len(line) == 14]
            if times:
                found.append((times[0], times[-1]))
        return sorted(found)

    def states(self) -> set[str]:
        """How the processes that are there now stand: `S` and `R` run, `T` is stopped."""
        found = set()
        for pid in self._pids():
            with suppress(OSError):
                found.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        return found - {"Z"}

    def _pids(self) -> list[int]:
        found = []
        for pid in os.listdir("/proc"):  # noqa: PTH208
            with suppress(OSError):
                if pid.isdigit() and self.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return found

    def _follow(self) -> None:
        while not self._stop.wait(0.1):
            for pid in self._pids():
                with suppress(OSError):
                    root = Path(f"/proc/{pid}/cwd")
                    self._ticks[pid] = (root / "ticks").read_text()
                    if self._ticks[pid]:
                        self.has_seen.set()
