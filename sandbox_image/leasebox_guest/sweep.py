"""How does the agent reach every process of the sandbox: stop, continue, kill, reap, account?

PID 1 of a sandbox says `kill(-1)`, one pass of the kernel in which no fork escapes. An agent without a pid namespace of
its own (driver `process`) must never say that: it is the subreaper of its descendants and finds them in /proc.
"""

from __future__ import annotations

import os
import time

SIGKILL = 9
SIGTERM = 15
SIGCONT = 18
SIGSTOP = 19
SWEEP_LIMIT_S = 2.0
FREEZE_LIMIT_S = 1.0
KEEP_LIMIT_S = 3.0
"""Longer, since the state of an interpreter hangs on it: on a machine under load the killed need a while to die."""
_POLL_S = 0.0005
_TICKS = os.sysconf("SC_CLK_TCK")


class Usage:
    """What the reaped processes of one job used together."""

    __slots__ = ("cpu_s", "maxrss_bytes")

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.maxrss_bytes = 0


class Processes:
    """All processes of the sandbox but the agent."""

    def __init__(self) -> None:
        self._me = os.getpid()
        self._is_pid_1 = self._me == 1

    def pids(self) -> list[int]:
        """Who is there, zombies included."""
        everyone = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        if self._is_pid_1:
            return [pid for pid in everyone if pid != 1]
        children: dict[int, list[int]] = {}
        for pid in everyone:
            if fields := stat(pid):
                children.setdefault(int(fields[1]), []).append(pid)
        found = list(children.get(self._me, ()))
        for pid in found:  # grows while it is read: breadth first
            found += children.get(pid, ())
        return found

    def signal(self, number: int, *, spare: int = 0) -> bool:
        """Send `number` to all but `spare`; False when nobody is there."""
        if self._is_pid_1 and not spare:
            return _kill(-1, number)
        return any([_kill(pid, number) for pid in self.pids() if pid != spare])  # noqa: C419 (to all, not up to the first)

    def reap(self, usage: Usage | None = None) -> dict[int, int]:
        """Collect who has ended: pid to wait status. Their usage, and that of those they waited for, is added."""
        ended: dict[int, int] = {}
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            ended[pid] = status
            if usage is not None:
                usage.cpu_s += used.ru_utime + used.ru_stime
                usage.maxrss_bytes = max(usage.maxrss_bytes, used.ru_maxrss * 1024)

    def sweep(self, usage: Usage | None = None) -> tuple[dict[int, int], bool]:
        """Kill and reap everyone.

        Returns:
            The wait statuses by pid, and whether the agent is alone now. False only after `SWEEP_LIMIT_S`: a process
            hangs in the kernel, and the sandbox must not be used again.
        """
        deadline = time.monotonic() + SWEEP_LIMIT_S
        ended: dict[int, int] = {}
        while True:
            if not self._is_pid_1:
                self.signal(SIGSTOP)  # who is stopped cannot fork between the look into /proc and the kill
            is_anyone_there = self.signal(SIGKILL)
            ended |= self.reap(usage)
            if not is_anyone_there:
                return ended, True
            if time.monotonic() > deadline:
                return ended, False
            if self.pids():
                time.sleep(_POLL_S)

    def freeze(self) -> bool:
        """Stop everyone; True once each of them was seen stopped or dead: a SIGCONT from a sibling undoes a stop."""
        deadline = time.monotonic() + FREEZE_LIMIT_S
        while time.monotonic() < deadline:
            self.signal(SIGSTOP)
            states = [fields[0] for pid in self.pids() if (fields := stat(pid))]
            if all(state in "TtZX" for state in states):
                return True
            time.sleep(_POLL_S)
        return False

    def keep(self, spared: int, usage: Usage | None = None) -> tuple[dict[int, int], bool]:
        """Kill everyone but one process, and stop that: it is to go on in a later job.

        Returns:
            The wait statuses by pid, and whether `spared` is stopped and alone now. False when it is dead (then it is
            among the statuses), or after `KEEP_LIMIT_S`.
        """
        deadline = time.monotonic() + KEEP_LIMIT_S
        ended: dict[int, int] = {}
        while time.monotonic() < deadline:
            self.signal(SIGSTOP)  # one pass of the kernel: a fork in flight fails on the pending signal
            others = [pid for pid in self.pids() if pid != spared]
            for pid in others:
                _kill(pid, SIGKILL)  # also who is stopped
            ended |= self.reap(usage)
            if spared in ended:
                return ended, False
            # Its own children stay zombies: it is stopped and cannot reap.
            others = [pid for pid in others if not _is_dead(pid)]
            # Stopped is looked at, not assumed: a SIGCONT from a sibling that died just now undoes it.
            if not others and (fields := stat(spared)) and fields[0] in "Tt":
                return ended, True
            if others:
                time.sleep(_POLL_S)
        return ended, False

    def cpu_s(self) -> float:
        """What the living have used up to now, and the dead whom they waited for."""
        ticks = 0
        for pid in self.pids():
            if fields := stat(pid):
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / _TICKS


def stat(pid: int) -> list[str]:
    """/proc/PID/stat from the state on (the name before it may hold anything); empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _is_dead(pid: int) -> bool:
    """Gone, or a zombie; a leader that left threads behind shows Z too, and is none."""
    fields = stat(pid)
    return not fields or (fields[0] in "ZX" and int(fields[17]) <= 1)


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
