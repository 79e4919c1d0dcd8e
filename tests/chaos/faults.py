"""How is each fault done to a running system? With signals, the engine's own commands, and Redis' own.

A hit is noted once it is done; one whose target went in that very moment looks for another.

What a fault begins it also ends: a stopped worker goes on, a killed one and a killed Redis are started again.
"""

import heapq
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import docker
import docker.errors
import redis as redis_py
from tests.chaos.evidence import Hit
from tests.chaos.plan import FaultKind, PlannedFault
from tests.chaos.system import ADOPT_GRACE_S, RECLAIM_S, System, Worker

from leasebox_worker.drivers.state_folder import StateFolder

TARGET_WITHIN_S = 5.0
"""How long a fault waits for something that it can hit: a running sandbox, a queued wake-up."""
OVERTAKEN_WITHIN_S = 40.0
"""So long a worker is stopped at most, waiting for others to run its jobs."""
_ALL = (OVERTAKEN_WITHIN_S, all)
LOOK_S = 0.2
SERVICES = Path(__file__).resolve().parents[2] / "ops/dev/services.sh"

Say = Callable[[str], None]


class Monkey:
    """Does the faults of a plan, each at its moment, in one thread; notes what it hit.

    Args:
        supervise: Called some times a second while faults are done.

    Attributes:
        gone: Workers that have not come back yet.
    """

    def __init__(
        self, system: System, engine: docker.DockerClient | None, say: Say, supervise: Callable[[], None]
    ) -> None:
        self._system = system
        self._engine = engine
        self._say = say
        self._supervise = supervise
        self.hits: list[Hit] = []
        self.missed: list[PlannedFault] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._redis_is_up = True
        self.gone: list[Worker] = []
        self._do: dict[FaultKind, Callable[[random.Random], bool]] = {
            FaultKind.WORKER_KILLED: self._kill_worker,
            FaultKind.WORKER_GONE: self._end_worker,
            FaultKind.WORKER_STOPPED: self._stop_worker,
            FaultKind.AGENT_KILLED: self._kill_agent,
            FaultKind.CONTAINER_KILLED: self._kill_container,
            FaultKind.CONNECTIONS_CUT: self._cut_connections,
            FaultKind.REDIS_KILLED: self._kill_redis,
            FaultKind.WAKEUPS_DROPPED: self._drop_wakeups,
            FaultKind.WAKEUPS_DOUBLED: self._double_wakeups,
            FaultKind.ENGINE_KILLED: self._kill_engine,
        }

    def run(self, faults: tuple[PlannedFault, ...], began: float, stop: threading.Event) -> None:
        """Do all, then wait until each has been made good; `began` is of the monotonic clock."""
        for fault in faults:
            self._until(began + fault.at_s, stop)
            if stop.is_set():
                break
            self._attempt(fault, stop)
        while self._later:
            self._until(self._later[0][0], stop)
            if stop.is_set():
                self._later = [(0.0, number, action) for _, number, action in self._later]
            self._make_good()

    def bring_back(self, redis: redis_py.Redis) -> None:
        """Start workers that were gone and that all others have forgotten; before, they must do without."""
        for worker in [gone for gone in self.gone if not redis.exists(self._system.keys.node(gone.node))]:
            self._say(f"{worker.node} was forgotten, and comes back")
            self.gone.remove(worker)
            worker.start()
            worker.is_in_hands = False

    def _attempt(self, fault: PlannedFault, stop: threading.Event) -> None:
        deadline = time.monotonic() + TARGET_WITHIN_S
        source = random.Random(fault.seed)
        while True:
            with suppress(redis_py.RedisError, docker.errors.DockerException, ProcessLookupError, FileNotFoundError):
                if self._do[fault.kind](source):
                    return
            if time.monotonic() > deadline:
                self._say(f"{fault.kind}: nothing to hit")
                self.missed.append(fault)
                return
            self._until(time.monotonic() + 0.02, stop)

    def _until(self, moment: float, stop: threading.Event) -> None:
        while not stop.is_set():
            self._make_good()
            self._supervise()
            next_at = min([moment] + [at for at, _, _ in self._later[:1]])
            left = next_at - time.monotonic()
            if left > 0:
                stop.wait(min(left, 0.1))
            elif next_at == moment:
                return

    def _make_good(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    def _after(self, pause_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + pause_s, next(self._order), action))

    def _hit(self, kind: FaultKind, *, lasts_s: float = 0.0, **what: str | None) -> bool:
        now = time.time()
        hit = Hit(kind, now, now + lasts_s, **what)
        self.hits.append(hit)
        self._say(f"fault {len(self.hits)}: {hit.kind} {hit.node or hit.sandbox or ''} {hit.what}".rstrip())
        return True

    def _worker(self, source: random.Random) -> Worker | None:
        """One that no other fault has in its hands, and that has jobs in its own."""
        with self._system.server.connect() as client:
            free = [
                worker
                for worker in self._system.workers
                if worker.is_alive and not worker.is_in_hands and client.exists(self._system.keys.claims(worker.node))
            ]
        return source.choice(free) if free else None

    def _kill_worker(self, source: random.Random) -> bool:
        worker = self._worker(source)
        if worker is None:
            return False
        pause_s = source.choice([0.0, 0.5, 2.0, RECLAIM_S + 2.0])
        self._hit(FaultKind.WORKER_KILLED, node=worker.node, what=f"back after {pause_s} s")
        worker.is_in_hands = True
        worker.kill()

        def restart() -> None:
            worker.start()
            worker.is_in_hands = False

        self._after(pause_s, restart)
        return True

    def _end_worker(self, source: random.Random) -> bool:
        """Its jobs and sessions must go on elsewhere: it comes back when nothing is kept for it any more."""
        worker = self._worker(source)
        if worker is None:
            return False
        self._hit(FaultKind.WORKER_GONE, node=worker.node)
        worker.is_in_hands = True
        worker.kill()
        self.gone.append(worker)
        return True

    def _stop_worker(self, source: random.Random) -> bool:
        worker = self._worker(source)
        if worker is None:
            return False
        pause_s, enough = source.choice(
            [(1.0, None), (ADOPT_GRACE_S + 3.0, None), (OVERTAKEN_WITHIN_S, any), *[_ALL] * 2]
        )
        how = f"until others have {enough.__name__} of its jobs" if enough else f"for {pause_s} s"
        self._hit(FaultKind.WORKER_STOPPED, node=worker.node, what=how)
        number = len(self.hits) - 1
        worker.is_in_hands = True
        with self._system.server.connect() as client:
            held = client.zrange(self._system.keys.claims(worker.node), 0, -1)
        worker.signal(signal.SIGSTOP)
        latest = time.monotonic() + pause_s

        def look() -> None:
            if time.monotonic() < latest and not (enough and enough(self._overtaken(worker, held))):
                self._after(LOOK_S, look)
                return
            worker.signal(signal.SIGCONT)
            worker.is_in_hands = False
            self.hits[number] = replace(self.hits[number], until=time.time() + 1.0)

        self._after(LOOK_S, look)
        return True

    def _overtaken(self, worker: Worker, held: list[bytes]) -> list[bool]:
        """Of each job that this one held, whether another worker has it: then a stale holder could do harm."""
        with suppress(redis_py.RedisError), self._system.server.connect() as client:
            records = [client.hmget(self._system.keys.job(job.decode()), "state", "node") for job in held]
            return [
                state == b"finished" or (state == b"running" and node != worker.node.encode())
                for state, node in records
            ]
        return [False]

    def _kill_agent(self, source: random.Random) -> bool:
        """PID 1 of a sandbox, by its number on the host."""
        folder = StateFolder(self._system.home / "sandboxes" / "bubblewrap")
        found = {r.name: r.process.pid for r in folder.records() if r.process and r.process.is_alive()}
        if self._engine is not None:
            for container in self._containers():
                found[str(container.name)] = int(container.attrs["State"]["Pid"])
        found = {name: pid for name, pid in found.items() if pid > 1}
        if not found:
            return False
        name = source.choice(sorted(found))
        os.kill(found[name], signal.SIGKILL)
        return self._hit(FaultKind.AGENT_KILLED, sandbox=name)

    def _kill_container(self, source: random.Random) -> bool:
        containers = self._containers()
        if not containers:
            return False
        container = source.choice(containers)
        container.kill()
        return self._hit(FaultKind.CONTAINER_KILLED, sandbox=str(container.name))

    def _containers(self) -> list[docker.models.containers.Container]:
        if self._engine is None:
            return []
        with self._system.server.connect() as client:
            installation = client.get(self._system.keys.installation())
        label = f"leasebox.installation={(installation or b'').decode()}"
        found = self._engine.containers.list(filters={"label": label, "status": "running"}, ignore_removed=True)
        return sorted(found, key=lambda container: str(container.id))

    def _cut_connections(self, source: random.Random) -> bool:
        with self._system.server.connect() as client:
            ours = client.client_id()
            others = sorted(int(row["id"]) for row in client.client_list() if int(row["id"]) != ours)
            chosen = source.sample(others, min(len(others), source.choice([1, 3, len(others)])))
            if not chosen:
                return False
            for number in chosen:
                with suppress(redis_py.ResponseError):
                    client.client_kill_filter(_id=str(number))
        return self._hit(FaultKind.CONNECTIONS_CUT, what=f"{len(chosen)} of {len(others)}")

    def _kill_redis(self, source: random.Random) -> bool:
        if not self._redis_is_up:
            return False
        pause_s = source.choice([0.0, 0.5, 2.0])
        self._hit(FaultKind.REDIS_KILLED, what=f"back after {pause_s} s")
        self._redis_is_up = False
        self._system.server.kill()

        def restart() -> None:
            self._system.server.start()
            self._redis_is_up = True

        self._after(pause_s, restart)
        return True

    def _queues(self, client: redis_py.Redis) -> list[bytes]:
        return sorted(client.scan_iter(f"{self._system.keys.queue_prefix}.*", count=1000, _type="list"))

    def _drop_wakeups(self, source: random.Random) -> bool:
        with self._system.server.connect() as client:
            for queue in self._queues(client):
                messages = client.lrange(queue, 0, -1)
                chosen = source.sample(messages, min(len(messages), source.choice([1, 3, 100])))
                dropped = sum(client.lrem(queue, 1, message) for message in chosen)
                if dropped:
                    return self._hit(FaultKind.WAKEUPS_DROPPED, what=f"{dropped} of {queue.decode()}")
        return False

    def _double_wakeups(self, source: random.Random) -> bool:
        """Send again the wake-ups of jobs that have not ended, be they queued, parked or claimed."""
        keys = self._system.keys
        with self._system.server.connect() as client:
            records = sorted(client.scan_iter(keys.job("*"), count=1000, _type="hash"))
            live = [name for name in records if client.hexists(name, "wake_head")]
            chosen = source.sample(live, min(len(live), 3))
            for name in chosen:
                head, tail, priority = client.hmget(name, "wake_head", "wake_tail", "priority")
                if None not in (head, tail, priority):
                    tag = name.decode().removeprefix(keys.job("")) + ".1"
                    client.lpush(keys.queue(priority.decode()), head + tag.encode() + tail)
        return bool(chosen) and self._hit(FaultKind.WAKEUPS_DOUBLED, what=f"{len(chosen)} of {len(live)}")

    def _kill_engine(self, source: random.Random) -> bool:
        """SIGKILL to dockerd, then its start as `make test` starts it. Hits everybody on this machine."""
        pid = int(Path("/var/run/docker.pid").read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() != "dockerd":
            return False
        self._hit(FaultKind.ENGINE_KILLED, lasts_s=30.0)
        os.kill(pid, signal.SIGKILL)
        subprocess.run([str(SERVICES), "start"], check=True, timeout=120)
        return True
