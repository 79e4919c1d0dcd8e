"""How does a move of the model look on the real scripts? `Replay` makes it, and shows Redis as a `World`.

A move is known by its label (`node 0, job 1.2: settle`). What is not in Redis (which process is up, what its threads
hold and do) stays in the model's world; queues, records and lines are Redis' own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import redis as redis_py
from protocol_model import SHARED, Job, Line, Phase, Scenario, State, World

from leasebox.contract import wire
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Call, Runner, answers, client, client_answers, node, worker

TENANT = "t"
MESSAGE = (b'{"properties": {"delivery_tag": "', b'"}}')
STATES = {"queued": State.QUEUED, "starting": State.STARTING, "running": State.RUNNING, "finished": State.DONE}
AT_ONCE: dict[str, Any] = {"backoff_s": (0,)}


class Replay:
    """One installation of its own, in which a scenario's moves are made.

    Args:
        scenario: Its lines without a session are the jobs' own.
    """

    def __init__(self, redis: redis_py.Redis, scenario: Scenario) -> None:
        prefix = f"m{uuid.uuid4().hex[:12]}"
        self.redis, self.scenario = redis, scenario
        self.keys = Keys(prefix, queue_prefix=prefix)
        self.jobs = [f"{prefix}-j{number}" for number in range(len(scenario.line_of))]
        self.incarnations = [0, 0]
        self.leases: dict[tuple[int, int], str] = {}
        self.count = 0
        for number in range(2):
            self.adopt(number, [])

    def run(self, call: Call[Any]) -> Any:
        return Runner(self.redis).run(call)

    # What the scripts are told.
    def job(self, number: int) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.redis.hgetall(self.keys.job(self.jobs[number])).items()}

    def session(self, line: int) -> dict[str, str]:
        found = self.redis.hgetall(self.keys.session(TENANT, f"s{line}"))
        return {k.decode(): v.decode() for k, v in found.items()}

    def line_name(self, line: int) -> str:
        if line in self.scenario.sessions:
            return f"{TENANT}/s{line}"
        return self.jobs[self.scenario.line_of.index(line)]

    def queue(self, home: int) -> str:
        return self.keys.queue("default", None if home == SHARED else f"n{home}")

    def incarnation(self, number: int) -> str:
        return f"n{number}i{self.incarnations[number]}"

    def new_lease(self, number: int) -> str:
        self.count += 1
        return f"{self.incarnation(number)}:{self.count}"

    def adopt(self, number: int, found: Sequence[answers.FoundSandbox]) -> None:
        self.incarnations[number] += 1
        answer = self.run(
            node.adopt(
                self.keys, node=f"n{number}", incarnation=self.incarnation(number), machine_id=f"m{number}",
                has_proof=True, driver="process", slots=4, found=found, **AT_ONCE,
            )
        )  # fmt: skip
        assert isinstance(answer, answers.Adopted)
        assert not answer.more

    def sandboxes(self, number: int) -> list[answers.FoundSandbox]:
        sessions = [(line, self.session(line)) for line in sorted(self.scenario.sessions)]
        return [
            answers.FoundSandbox(self.line_name(line), int(session["generation"]), session["sandbox"])
            for line, session in sessions
            if session.get("sandbox") and session["node"] == f"n{number}"
        ]

    # Moves.
    def step(self, label: str, before: World) -> None:
        """Make the move on the scripts, if Redis takes part in it."""
        for pattern, move in MOVES:
            if match := re.fullmatch(pattern, label):
                move(self, before, *(int(group) for group in match.groups()))
                return
        raise AssertionError(f"no such move: {label}")

    def submit(self, _: World, number: int) -> None:
        line = self.scenario.line_of[number]
        record = client.NewJob(
            job=self.jobs[number], kind="program", tenant=TENANT,
            session=f"s{line}" if line in self.scenario.sessions else None, profile=None, priority="default",
            spec=b"{}", digest="d", retries=self.scenario.retries[number], wake_head=MESSAGE[0], wake_tail=MESSAGE[1],
            batch=self.keys.prefix,
        )  # fmt: skip
        answer = self.run(client.submit(self.keys, record=record))
        assert isinstance(answer, client_answers.Accepted)

    def cancel(self, _: World, number: int) -> None:
        self.run(client.cancel(self.keys, job=self.jobs[number], tenant=TENANT))

    def expire(self, _: World, number: int) -> None:
        self.redis.hset(self.keys.job(self.jobs[number]), "expires_at", 1)
        self.redis.zadd(self.keys.expiring(), {self.jobs[number]: 1})
        assert self.run(node.expire(self.keys)).jobs == 1

    def close(self, _: World, line: int) -> None:
        self.run(client.close(self.keys, tenant=TENANT, session=f"s{line}"))

    def sweep(self, _: World, line: int) -> None:
        if line in self.scenario.sessions:
            generation = int(self.session(line).get("generation", 0))
            self.run(node.sweep(self.keys, line=self.line_name(line), generation=generation, evict_idle_after_s=0))

    def take(self, queue: str, line: int) -> str | None:
        """Take a line's wake-ups from its queue (the model's are a set); answer the job that the last one named."""
        jobs = [self.jobs[n] for n, other in enumerate(self.scenario.line_of) if other == line]
        found = None
        for message in self.redis.lrange(queue, 0, -1):
            tag = json.loads(message)["properties"]["delivery_tag"].rpartition(".")[0]
            if tag in jobs:
                self.redis.lrem(queue, 1, message)
                found = tag
        return found

    def acquire(self, _: World, number: int, line: int, home: int, doubled: bool = False) -> None:
        queue = self.queue(home)
        kept = self.redis.lrange(queue, 0, -1)
        named = self.take(queue, line)
        if named is None:
            return  # a move of a broken model, whose wake-up the real scripts never sent
        if doubled:
            self.redis.delete(queue)
            self.redis.rpush(queue, *kept)
        lease = self.new_lease(number)
        answer = self.run(
            worker.acquire(self.keys, job=named, node=f"n{number}", incarnation=self.incarnation(number), lease=lease)
        )
        if isinstance(answer, (answers.Leased, answers.Cold)):
            self.leases[self.jobs.index(answer.work.job), answer.work.claims] = lease

    def lease(self, number: int, claim: int) -> tuple[str, str]:
        return self.jobs[number], self.leases.get((number, claim), "none:0")

    def bind(self, _: World, number: int, job: int, claim: int) -> None:
        name, lease = self.lease(job, claim)
        if job in self.scenario.poison:
            self.run(worker.give_up(self.keys, job=name, lease=lease, why=worker.Why.START_FAILED, **AT_ONCE))
            return
        self.count += 1
        box = f"box{self.count}"
        self.run(worker.bind(self.keys, job=name, lease=lease, node=f"n{number}", sandbox=box))

    def start(self, _: World, __: int, job: int, claim: int) -> None:
        name, lease = self.lease(job, claim)
        self.run(worker.start(self.keys, job=name, lease=lease, deadline_s=30, frame=lease))

    def drained(self, _: World, __: int, job: int, claim: int) -> None:
        name, lease = self.lease(job, claim)
        self.run(worker.give_up(self.keys, job=name, lease=lease, why=worker.Why.DRAIN, **AT_ONCE))

    def settle(self, before: World, number: int, job: int, claim: int, may_continue: bool = False) -> None:
        name, lease = self.lease(job, claim)
        phases = [hand.phase for hand in before.nodes[number].hands if (hand.job, hand.claim) == (job, claim)]
        outcome = "cancelled" if Phase.KILLED in phases else "ok"
        meta = wire.meta_text(name, outcome, "{}", done_at=1.0)
        following = self.new_lease(number)
        answer = self.run(
            worker.settle(
                self.keys, job=name, lease=lease, end=worker.Ending(outcome, meta, b"{}"), next_lease=following,
                may_continue=may_continue,
            )
        )  # fmt: skip
        if isinstance(answer, answers.Next):
            self.leases[self.jobs.index(answer.work.job), answer.work.claims] = following

    def settle_and_continue(self, before: World, number: int, job: int, claim: int) -> None:
        self.settle(before, number, job, claim, may_continue=True)

    def stale(self, _: World, __: int, job: int, claim: int) -> None:
        """The holder asks once more, and is told that it holds nothing."""
        name, lease = self.lease(job, claim)
        chunks = [worker.Chunk(16, "stdout", b"x")]
        answer = self.run(worker.emit(self.keys, job=name, lease=lease, claims=claim, chunks=chunks))
        assert answer == answers.LeaseLost()

    def heartbeat(self, before: World, number: int) -> None:
        hands = before.nodes[number].hands
        held = [self.lease(hand.job, hand.claim) for hand in hands]
        answer = self.run(
            node.heartbeat(
                self.keys, node=f"n{number}", incarnation=self.incarnation(number), held=held, slots=4,
                busy=len(held), disown_after_s=0, **AT_ONCE,
            )
        )  # fmt: skip
        if answer == answers.Fenced():
            self.adopt(number, self.sandboxes(number))

    def restart(self, _: World, number: int) -> None:
        self.adopt(number, self.sandboxes(number))

    def restart_empty(self, _: World, number: int) -> None:
        self.adopt(number, [])

    def detach(self, _: World, __: int, line: int) -> None:
        session = self.session(line)
        self.run(
            node.detach(
                self.keys, line=self.line_name(line), generation=int(session["generation"]), sandbox=session["sandbox"]
            )
        )

    def reclaim(self, _: World, number: int) -> None:
        counter = self.redis.zscore(self.keys.nodes(), f"n{number}")
        if counter is not None:
            incarnation = self.incarnation(number)
            self.run(
                node.reclaim(self.keys, node=f"n{number}", incarnation=incarnation, seen_counter=counter, **AT_ONCE)
            )

    def forget(self, _: World, number: int) -> None:
        self.run(node.forget(self.keys, node=f"n{number}", incarnation=self.incarnation(number), adopt_grace_s=0))

    def resend(self, before: World, line: int) -> None:
        self.run(node.resend(self.keys, queue=self.queue(before.lines[line].home), grace_s=0))

    def lose_wakeup(self, _: World, line: int, home: int) -> None:
        self.take(self.queue(home), line)

    def nothing(self, *_: object) -> None:
        """The move of a process or a guest; Redis does not see it."""

    # Redis as the model sees it.
    def project(self, real: World) -> World:
        """Redis' part of the world, in the frame of `real`, which knows the processes."""
        jobs = tuple(self._job(number) for number in range(len(self.jobs)))
        lines = tuple(self._line(line) for line in range(len(real.lines)))
        names = {self.line_name(line).encode(): line for line in range(len(real.lines))}
        waiting = [
            names[name]
            for home in (SHARED, 0, 1)
            for name in self.redis.zrange(self.keys.waiting(self.queue(home)), 0, -1)
        ]
        assert len(waiting) == len(set(waiting)), "a line waits in two queues"
        nodes = tuple(
            state._replace(is_known_dead=not alive)
            for state, alive in zip(real.nodes, map(self._is_registered, range(2)), strict=True)
        )
        return real._replace(
            jobs=jobs, lines=lines, nodes=nodes, waiting=frozenset(waiting), wakeups=frozenset(self._wakeups())
        )

    def _is_registered(self, number: int) -> bool:
        found = self.redis.hmget(self.keys.node(f"n{number}"), "incarnation", "dead")
        return found[0] is not None and not found[1]

    def _job(self, number: int) -> Job:
        record = self.job(number)
        if not record:
            return Job()
        entries = self.redis.xrange(self.keys.events(self.jobs[number]))
        ends = sum(fields[b"type"] == b"finished" for _, fields in entries)
        state = STATES[record["state"]]
        if state is State.DONE:
            return Job(State.DONE, ends=ends)
        claims = self.redis.zscore(self.keys.claims(record["node"]), self.jobs[number]) if record["node"] else None
        assert (claims is not None) == (state is not State.QUEUED)
        runs = int(record["runs"])
        return Job(
            state,
            claim=int(record["claims"]),
            node=int(record["node"][1:]) if record["node"] else None,
            runs=runs,
            starts=int(record["starts"]),
            cancelled_at=runs if record.get("cancel_requested") else None,
            ends=ends,
        )

    def _line(self, line: int) -> Line:
        if line not in self.scenario.sessions:
            number = self.scenario.line_of.index(line)
            record = self.job(number)
            if not record or record["state"] == "finished":
                return Line()
            home = int(record["node"][1:]) if record.get("sandbox") else SHARED
            return Line((number,), home)
        pending = self.redis.lrange(self.keys.pending(TENANT, f"s{line}"), 0, -1)
        record = self.session(line)
        home = int(record["node"][1:]) if record.get("sandbox") else SHARED
        return Line(tuple(self.jobs.index(job.decode()) for job in pending), home, bool(record.get("closing")))

    def _wakeups(self) -> set[tuple[int, int]]:
        lines = dict(zip(self.jobs, self.scenario.line_of, strict=True))
        return {
            (home, lines[json.loads(message)["properties"]["delivery_tag"].rpartition(".")[0]])
            for home in (SHARED, 0, 1)
            for message in self.redis.lrange(self.queue(home), 0, -1)
        }

    def homeless_keys(self) -> list[bytes]:
        """Keys that nothing will ever remove, once every job has ended."""
        keys = self.keys
        kinds = (
            keys.nodes(), keys.node(""), keys.queue(""), keys.batch(""), keys.batches(), keys.recent(TENANT),
            keys.unbound(), keys.tenant_sessions(TENANT), keys.ended(),
        )  # fmt: skip
        found = [key for key in self.redis.scan_iter(f"{keys.prefix}*") if self.redis.ttl(key) < 0]
        live = {keys.session(TENANT, f"s{line}") for line in self.scenario.sessions}
        return [key for key in found if not key.decode().startswith(kinds) and key.decode() not in live]


WAKE_UP = r"wake-up of line (\d) in queue (-?\d)"
WHO = r"node (\d), job (\d)\.(\d): "
MOVES: Sequence[tuple[str, Callable[..., None]]] = (
    (r"submit job (\d)", Replay.submit),
    (r"cancel job (\d)", Replay.cancel),
    (r"job (\d) expires", Replay.expire),
    (r"close session (\d)", Replay.close),
    (r"sweep session (\d)", Replay.sweep),
    (r"node (\d) restarts", Replay.restart),
    (r"node (\d) restarts, sandboxes gone", Replay.restart_empty),
    (r"node (\d) heartbeat", Replay.heartbeat),
    (r"node (\d): the sandbox of session (\d) dies", Replay.detach),
    (r"node (\d) (?:acquires job \d by|drops) " + WAKE_UP + "(?:, answer lost)?", Replay.acquire),
    (r"node (\d) acquires job \d by " + WAKE_UP + ", doubled", partial(Replay.acquire, doubled=True)),
    (WAKE_UP + " is lost", Replay.lose_wakeup),
    (WHO + "bind", Replay.bind),
    (WHO + "start", Replay.start),
    (WHO + "given back by drain", Replay.drained),
    (WHO + "settle(?:, answer lost)?", Replay.settle),
    (WHO + "settle, continue(?:, answer lost)?", Replay.settle_and_continue),
    (WHO + "LeaseLost", Replay.stale),
    (r"reaper reclaims node (\d)", Replay.reclaim),
    (r"reaper forgets node (\d)", Replay.forget),
    (r"reaper wakes line (\d) again", Replay.resend),
    (WHO + "(?:code ends|killed for cancel)", Replay.nothing),
    (r"drain node (\d)", Replay.nothing),
    (
        r"node (\d) (?:crashes|loses Redis|freezes its sandboxes|reaches Redis again|is drained and exits)",
        Replay.nothing,
    ),
    (r"node (\d): guests miss their worker and stop", Replay.nothing),
)
