"""What happens in a round? A seed in; jobs and faults, each with its moment, out. The same seed, the same plan.

Every program writes its job's number into its name (`watch`), prints a first line with it and a random mark, a body
that is known beforehand (but in sessions), and a last line. So its output alone shows whether it ran once, whole, and
with its session's files.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from operator import itemgetter
from typing import Any

from tests.chaos.watch import sign_of


class Kind(StrEnum):
    """What a job does."""

    PRINT = "print"
    FLOOD = "flood"
    SLEEP = "sleep"
    LONG = "long"
    LOUD = "loud"
    ENDING = "ending"
    FAIL = "fail"
    FILES = "files"
    COMMAND = "command"
    TIMEOUT = "timeout"
    STUBBORN = "stubborn"
    EXPIRING = "expiring"
    SESSION = "session"


class FaultKind(StrEnum):
    """What goes wrong."""

    WORKER_KILLED = "worker_killed"
    WORKER_GONE = "worker_gone"
    WORKER_STOPPED = "worker_stopped"
    AGENT_KILLED = "agent_killed"
    CONTAINER_KILLED = "container_killed"
    CONNECTIONS_CUT = "connections_cut"
    REDIS_KILLED = "redis_killed"
    WAKEUPS_DROPPED = "wakeups_dropped"
    WAKEUPS_DOUBLED = "wakeups_doubled"
    ENGINE_KILLED = "engine_killed"


OF_REDIS = (
    FaultKind.CONNECTIONS_CUT,
    FaultKind.REDIS_KILLED,
    FaultKind.WAKEUPS_DROPPED,
    FaultKind.WAKEUPS_DOUBLED,
)
"""None of these may cost a job its attempt."""
EVERYWHERE = tuple(kind for kind in FaultKind if kind not in (FaultKind.WORKER_GONE, FaultKind.ENGINE_KILLED))
"""An engine belongs to the whole machine, so its end is asked for by name. A worker that does not come back is the last
fault of a round."""


@dataclass(frozen=True)
class PlannedJob:
    """One job, as it is to be submitted.

    Attributes:
        index: Also its place in the order of submits.
        at_s: From the round's beginning.
        body: What it prints between its first and its last line; None: not known beforehand.
        cancel_after_s: From its submit; None = never.
    """

    index: int
    at_s: float
    kind: Kind
    spec: dict[str, Any] = field(hash=False)
    body: bytes | None
    cancel_after_s: float | None = None

    @property
    def session(self) -> str | None:
        """The session that it belongs to."""
        name: str | None = self.spec.get("session")
        return name

    @property
    def retries(self) -> int:
        """Further attempts that it may have."""
        return int(self.spec["retries"])


@dataclass(frozen=True)
class PlannedFault:
    """One fault; what exactly it hits and for how long follows from its own seed."""

    at_s: float
    kind: FaultKind
    seed: int


@dataclass(frozen=True)
class Plan:
    """All of a round."""

    seed: int
    jobs: tuple[PlannedJob, ...]
    faults: tuple[PlannedFault, ...]


_SHARES = {
    Kind.PRINT: 24,
    Kind.FLOOD: 6,
    Kind.SLEEP: 12,
    Kind.FAIL: 6,
    Kind.FILES: 6,
    Kind.COMMAND: 6,
    Kind.TIMEOUT: 2,
    Kind.STUBBORN: 4,
    Kind.EXPIRING: 4,
    Kind.SESSION: 30,
}
_IN_A_SESSION = 6
_BURST = (8, 30)
_BAITED = (FaultKind.WORKER_STOPPED, FaultKind.WORKER_GONE)
_BAITS = {Kind.LONG: (3, 2.0), Kind.LOUD: (2, 2.0), Kind.ENDING: (4, 5.0)}
"""For a worker to hold when it is stopped or gone: how many, and how long before that they are submitted."""


def make_plan(
    seed: int,
    *,
    jobs: int,
    faults: int,
    load_s: float,
    kinds: tuple[FaultKind, ...] = EVERYWHERE,
    last: FaultKind | None = None,
    retries: int | None = None,
) -> Plan:
    """Draw a round.

    Args:
        load_s: Jobs and faults come within so many seconds.
        kinds: Of faults; each comes once before one comes again.
        last: One more, near the end of the load.
        retries: Of every job; None = 0 for some, 2 for others.
    """
    source = random.Random(seed)
    drawn = tuple(_faults(source, faults, load_s, kinds))
    if last is not None:
        drawn += (PlannedFault(load_s * 0.98, last, source.getrandbits(32)),)
    moments = sorted(
        [
            *_moments(source, max(0, jobs - len(list(_baits(drawn)))), load_s),
            *_baits(drawn),
        ],
        key=itemgetter(0),
    )
    sessions = [f"s{number}" for number in range(max(1, jobs * _SHARES[Kind.SESSION] // 100 // _IN_A_SESSION))]
    made = [_job(source, n, at_s, kind, sessions, retries, sign_of(seed)) for n, (at_s, kind) in enumerate(moments)]
    return Plan(seed, tuple(made), drawn)


def _baits(faults: tuple[PlannedFault, ...]) -> Iterator[tuple[float, Kind]]:
    """Jobs for a worker to hold when it is stopped or gone: others must take them, once and for all."""
    for fault in faults:
        if fault.kind in _BAITED:
            for kind, (count, before_s) in _BAITS.items():
                yield from [(max(0.0, fault.at_s - before_s), kind)] * count


def _moments(source: random.Random, jobs: int, load_s: float) -> Iterator[tuple[float, Kind]]:
    """Some singly, some in bursts that make the queues long."""
    while jobs > 0:
        together = min(jobs, source.randint(*_BURST) if source.random() < 0.05 else 1)
        at_s = source.uniform(0.0, load_s)
        kinds = source.choices(list(_SHARES), list(_SHARES.values()), k=together)
        yield from [(at_s, kind) for kind in kinds]
        jobs -= together


def _faults(source: random.Random, count: int, load_s: float, kinds: tuple[FaultKind, ...]) -> Iterator[PlannedFault]:
    bag: list[FaultKind] = []
    for number in range(count):
        if not bag:
            bag = source.sample(kinds, len(kinds))
        at_s = load_s * (number + source.uniform(0.2, 0.8)) / count
        yield PlannedFault(at_s, bag.pop(), source.getrandbits(32))


def _job(
    source: random.Random, index: int, at_s: float, kind: Kind, sessions: list[str], retries: int | None, sign: str
) -> PlannedJob:
    program, body, more = _PROGRAMS[kind](source, index)
    spec: dict[str, Any] = {
        "idempotency_key": f"chaos-{index}",
        "priority": source.choice(["interactive", "default", "default", "batch"]),
        "retries": source.choice([0, 2]) if retries is None else retries,
        "limits": {"memory_bytes": 128 << 20, "disk_bytes": 32 << 20, "tmp_bytes": 16 << 20},
        "profile": "lightweight",
    }
    cancel_after_s = None
    if kind is Kind.STUBBORN or (kind in (Kind.SLEEP, Kind.SESSION) and source.random() < 0.15):
        cancel_after_s = source.choice([0.0, 0.05, source.uniform(0.1, 3.0)])
    if kind is Kind.SESSION:
        spec["session"] = source.choice(sessions)
    whole = _FIRST.format(index=index, sign=sign) + program + _LAST.format(index=index)
    if kind is Kind.FAIL:
        whole += "sys.exit(3)\n"
    if kind is Kind.COMMAND:
        spec["command"] = ["python3", "-c", whole]
    else:
        spec["code"] = whole
    limits = spec["limits"] | more.pop("limits", {})
    return PlannedJob(index, at_s, kind, {**spec, **more, "limits": limits}, body, cancel_after_s)


_FIRST = """import os, signal, sys, time
with open("/proc/self/comm", "w") as comm:
    comm.write("{sign}-{index}")
print("begin", {index}, os.urandom(8).hex(), flush=True)
"""
_LAST = 'print("end", {index}, flush=True)\n'

_Made = tuple[str, bytes | None, dict[str, Any]]


def _print(source: random.Random, index: int) -> _Made:
    text = f"hello {source.getrandbits(64)}"
    return f"print({text!r})\n", f"{text}\n".encode(), {}


def _flood(source: random.Random, index: int) -> _Made:
    lines = source.randrange(1_000, 20_000)
    program = f'for n in range({lines}):\n    print(n, "x" * 60)\n'
    return program, b"".join(b"%d %s\n" % (n, b"x" * 60) for n in range(lines)), {}


def _sleep(source: random.Random, index: int) -> _Made:
    program = f"for n in range(20):\n    print(n, flush=True)\n    time.sleep({source.choice([0.02, 0.05, 0.15])})\n"
    return program, b"".join(b"%d\n" % n for n in range(20)), {}


def _long(source: random.Random, index: int) -> _Made:
    """Would still run when others have begun it again, if nothing stopped it; urgent, so that it is there to be hit."""
    program = "for n in range(180):\n    print(n, flush=True)\n    time.sleep(0.1)\n"
    more = {"priority": "interactive", "retries": 2, "limits": {"timeout_s": 60.0}}
    return program, b"".join(b"%d\n" % n for n in range(180)), more


def _loud(source: random.Random, index: int) -> _Made:
    """As `_long`, and writes more than a pipe holds: its worker wakes with output in its hands that nobody wants."""
    program = 'for n in range(140):\n    print(n, "x" * 20_000, flush=True)\n    time.sleep(0.1)\n'
    more = {"priority": "interactive", "retries": 2, "limits": {"timeout_s": 60.0}}
    return program, b"".join(b"%d %s\n" % (n, b"x" * 20_000) for n in range(140)), more


def _ending(source: random.Random, index: int) -> _Made:
    """Ends in the first seconds of a stop, so that its worker wakes with a result in its hands that nobody wants."""
    lines = source.choice([48, 54, 60])
    program = f"for n in range({lines}):\n    print(n, flush=True)\n    time.sleep(0.1)\n"
    return program, b"".join(b"%d\n" % n for n in range(lines)), {"priority": "interactive", "retries": 2}


def _files(source: random.Random, index: int) -> _Made:
    content = source.randbytes(source.randrange(1, 100_000)).hex()
    program = 'import hashlib\nprint(hashlib.sha256(open("in/data", "rb").read()).hexdigest())\n'
    return program, f"{sha256(content.encode()).hexdigest()}\n".encode(), {"files": {"in/data": content}}


def _timeout(source: random.Random, index: int) -> _Made:
    return "time.sleep(600)\n", b"", {"limits": {"timeout_s": 1.0}}


def _stubborn(source: random.Random, index: int) -> _Made:
    """Ignores SIGTERM, floods or sleeps, and is cancelled."""
    pause_s = source.choice([1.0, 0.001])
    ending = f"while True:\n    print('y' * 99)\n    time.sleep({pause_s})\n"
    return f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{ending}", None, {"limits": {"timeout_s": 20.0}}


def _expiring(source: random.Random, index: int) -> _Made:
    program, body, _ = _print(source, index)
    return program, body, {"expires_in_s": source.choice([0.01, 0.3, 5.0])}


def _session(source: random.Random, index: int) -> _Made:
    """Leaves its number in the session's file, and prints whose numbers it found there."""
    pause = f"time.sleep({source.choice([0, 0, 0.1, 0.5])})\n"
    program = (
        f'with open("seen", "a+") as f:\n    f.seek(0)\n    found = f.read().split()\n    f.write("{index}\\n")\n'
        'print("seen", *found)\n'
    )
    return program + pause, None, {}


_PROGRAMS = {
    Kind.PRINT: _print,
    Kind.FLOOD: _flood,
    Kind.SLEEP: _sleep,
    Kind.LONG: _long,
    Kind.LOUD: _loud,
    Kind.ENDING: _ending,
    Kind.FAIL: _print,
    Kind.FILES: _files,
    Kind.COMMAND: _print,
    Kind.TIMEOUT: _timeout,
    Kind.STUBBORN: _stubborn,
    Kind.EXPIRING: _expiring,
    Kind.SESSION: _session,
}
