"""Do the scripts agree with the model after each move? A `Walk` makes moves on both and compares."""

from __future__ import annotations

import re

import redis as redis_py
from protocol_model import PROMISES, Job, Kind, Line, Node, Protocol, Scenario, State, World
from replay import TENANT, Replay


def _verb(label: str) -> str:
    """A label without what the scripts decide: whether a wake-up claims a job, and which."""
    return re.sub(r"acquires job \d by|drops", "takes", label)


class Walk:
    """A scenario from its beginning, on the model and on the scripts."""

    def __init__(self, redis: redis_py.Redis, scenario: Scenario) -> None:
        lines = (Line(),) * len({*scenario.line_of})
        jobs = (Job(),) * len(scenario.line_of)
        self.world = World(jobs, lines, (Node(),) * 2, frozenset(scenario.wishes), scenario.faults)
        self.protocol = Protocol(scenario)
        self.replay = Replay(redis, scenario)
        self.trace: list[str] = []

    def moves(self, kind: Kind) -> list[tuple[str, World]]:
        """What can happen next, and the model's world after it."""
        found = [(label, after) for this, label, after in self.protocol.moves(self.world) if this is kind]
        return [(label, after._replace(faults=self.world.faults - (kind is Kind.FAULT))) for label, after in found]

    def step(self, label: str, after: World) -> None:
        """Make a move; fail unless Redis then is what the model says, and every promise holds."""
        self.trace.append(label)
        self.replay.step(label, self.world)
        self.world = self._same(label, after)
        broken = [promise for promise, is_kept in PROMISES.items() if not is_kept(self.protocol, self.world)]
        assert broken == [], self.trace

    def _same(self, label: str, expected: World) -> World:
        actual = self.replay.project(expected)
        assert actual._replace(wakeups=expected.wakeups) == expected, (label, self.trace)
        needed = {(expected.lines[line].home, line) for line in expected.waiting}
        if "wakes line" in label:  # the script wakes all that lack a message, and no other
            assert expected.wakeups - needed <= actual.wakeups <= expected.wakeups | needed, (label, self.trace)
        else:  # the model wakes also a queue that the line has left at the end of the move
            assert expected.wakeups & needed <= actual.wakeups <= expected.wakeups, (label, self.trace)
        return actual

    def try_step(self, label: str) -> None:
        """Make a move of a broken model: where the right one does not have it, the scripts must refuse it."""
        known = [(name, after) for kind in Kind for name, after in self.moves(kind) if _verb(name) == _verb(label)]
        if known:
            self.step(*known[0])
            return
        self.trace.append(label)
        before = self.replay.project(self.world)
        self.replay.step(label, self.world)
        assert self.replay.project(self.world) == before, self.trace

    def finish(self) -> None:
        """Let everybody do their duty: all jobs end, and nothing is left over."""
        last: dict[str, int] = {}
        for turn in range(400):
            if all(job.state in (State.NEW, State.DONE) for job in self.world.jobs):
                self._assert_clean()
                return
            moves = [(label, after) for label, after in self.moves(Kind.DUTY) if after != self.world]
            label, after = min(moves, key=lambda move: last.get(move[0], -1))
            last[label] = turn
            self.step(label, after)
        raise AssertionError(f"stuck: {self.world.sketch()} after {self.trace}")

    def _assert_clean(self) -> None:
        keys, redis = self.replay.keys, self.replay.redis
        ended = [number for number, job in enumerate(self.world.jobs) if job.state is State.DONE]
        assert all(self.world.jobs[number].ends == 1 for number in ended)
        assert all(redis.exists(keys.meta(self.replay.jobs[number])) for number in ended)
        assert not redis.exists(keys.claims("n0"), keys.claims("n1"))
        assert not redis.exists(
            keys.tenant_queued(TENANT), keys.tenant_running(TENANT), keys.queued(keys.queue("default"))
        )
        total, done = redis.hmget(keys.batch(keys.prefix), "total", "done")
        assert (int(total or 0), int(done or 0)) == (len(ended), len(ended))
        assert sum(map(int, redis.hvals(keys.ended()))) == len(ended)
        assert self.replay.homeless_keys() == []
