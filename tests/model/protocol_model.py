"""Does the protocol keep its promises? Explore it and see.

Every script is one method here, a pure function from a `World` to the next. `python protocol_model.py` visits all
worlds that small scenarios can reach (two nodes, up to four jobs, one or two faults) and checks each promise in each;
`--break NAME` puts a known bug back and prints a shortest trace that shows it.

One idea carries the protocol. Jobs stand in *lines*: a session is a line, and a job without one is a line of one,
whose sandbox is used once. The head of a line stays in place until it *ends*, so no crash, retry or drain can change
the order. A line is *runnable* while its head is queued, and `waiting` holds exactly the runnable lines: the script
that makes a line runnable puts it there, so a wake-up may be lost, doubled, late or misdirected at no cost but time.

Abstracted away, so proved nowhere here: time (a timer may fire at any moment, but "a silent node freezes, and guests
of a dead one stop, before anyone reclaims" is assumed), loss of acknowledged writes (power cut, failover), output,
quotas, batches, blobs, webhooks, the warm pool, two live processes of one node, hung threads. "Can still end" means
"will end" under strong fairness: what is possible again and again happens at last.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Iterator, Set
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

SHARED = -1  # the queue that every node consumes; a node's own queue has the node's number
MAX_STARTS = 3  # claims of a job that never reached its code, before it ends as `infra`
MAX_CLAIMS = 7  # more than any correct run needs: explore no further, the job is passed around for ever

State = StrEnum("State", "NEW QUEUED STARTING RUNNING DONE")  # of a job's record
Phase = StrEnum("Phase", "COLD READY RUNNING FINISHED KILLED")  # a thread's view of its lease, perhaps outdated
Kind = StrEnum("Kind", "DUTY CHOICE FAULT")  # of a move: owed by somebody alive, owed by nobody, bad luck


def put(items: tuple[Any, ...], number: int, item: object) -> tuple[Any, ...]:
    return (*items[:number], item, *items[number + 1 :])


class Job(NamedTuple):
    state: State = State.NEW
    claim: int = 0  # the fencing token: how often the job was claimed
    node: int | None = None  # of the claim
    runs: int = 0  # attempts whose code was started
    starts: int = 0  # claims that were given up before that, other than by drain
    cancelled_at: int | None = None  # the cancel flag: `runs` when it was set
    ends: int = 0  # a witness, not a field of the record


class Line(NamedTuple):
    pending: tuple[int, ...] = ()  # in submit order; the head may be starting or running
    home: int = SHARED  # the node that has its sandbox, if one has: where its wake-ups go
    closing: bool = False


class Hand(NamedTuple):
    """A lease as one worker thread holds it."""

    job: int
    claim: int
    phase: Phase


class Node(NamedTuple):
    """A worker process and its link to Redis. The hands of a dead process are orphaned guests."""

    up: bool = True
    linked: bool = True
    frozen: bool = False
    draining: bool = False
    is_known_dead: bool = False  # in Redis: its jobs were reclaimed
    hands: tuple[Hand, ...] = ()


class World(NamedTuple):
    """Redis (`jobs`, `lines`, `waiting`, `is_known_dead`), the queues (`wakeups`), and the real nodes."""

    jobs: tuple[Job, ...]
    lines: tuple[Line, ...]
    nodes: tuple[Node, ...]
    wishes: frozenset[tuple[str, int]]  # what client, operator or clock may still do, once each
    faults: int  # still to come
    waiting: frozenset[int] = frozenset()  # runnable lines, as the scripts keep them
    wakeups: frozenset[tuple[int, int]] = frozenset()  # (queue, line)

    def change(self, table: str, number: int, **fields: Any) -> World:
        items = getattr(self, table)
        return self._replace(**dict[str, Any]({table: put(items, number, items[number]._replace(**fields))}))

    def works(self, node: int) -> bool:
        return self.nodes[node].up and self.nodes[node].linked

    def executing(self) -> list[tuple[int, int]]:
        """(node, job) of the user code that is really running, whatever the records say."""
        awake = [(number, node.hands) for number, node in enumerate(self.nodes) if not node.frozen]
        return [(number, hand.job) for number, hands in awake for hand in hands if hand.phase is Phase.RUNNING]

    def sketch(self) -> str:
        return " ".join(job.state + (f"@{job.node}" if job.node is not None else "") for job in self.jobs)


Answer = tuple[World, Hand | None]  # of a worker's script: the world after it, the lease that remains
Move = tuple[Kind, str, World]


class Scenario(NamedTuple):
    name: str
    line_of: tuple[int, ...]  # of each job; jobs are submitted in number order
    sessions: Set[int]  # the lines that keep their sandbox
    retries: tuple[int, ...]
    wishes: Set[tuple[str, int]] = frozenset()
    poison: Set[int] = frozenset()  # jobs whose sandbox never starts
    faults: int = 1
    frail: int = 1  # how many nodes may suffer them: nodes are alike, so one is enough for one fault


BREAKS = {
    "no_fencing": "nobody compares tokens", "no_resend": "nobody sends a missing wake-up again",
    "drop_busy_without_continuation": "settle neither goes on with the session's next job nor wakes its queue",
    "requeue_at_tail": "a reclaimed job goes to the end of its line", "no_forget": "nobody gives up a node for good",
    "late_fence": "jobs are reclaimed before their code has stopped", "no_disown": "claims without a holder stay",
    "cancel_before_kill": "cancel ends a running job at once", "reclaim_ignores_cancel": "and retries the job",
    "start_ignores_cancel": "a cold start is not cancelled", "unbounded_starts": "a hopeless start is tried for ever",
    "sweep_drops_pending": "the sweep decides first and deletes later, whatever came in between",
}  # fmt: skip


class Protocol(NamedTuple):
    """The scripts, then everything that can happen next."""

    scenario: Scenario
    broken: frozenset[str] = frozenset()

    # Rules that the scripts share.
    def is_runnable(self, w: World, line: int) -> bool:
        pending, _, closing = w.lines[line]
        return bool(pending) and not closing and w.jobs[pending[0]].state is State.QUEUED

    def holds(self, w: World, hand: Hand) -> bool:
        """The fence: the job is still claimed, and by this lease."""
        job = w.jobs[hand.job]
        return "no_fencing" in self.broken or (job.node is not None and job.claim == hand.claim)

    def rouse(self, w: World, line: int) -> World:
        """Let `waiting` tell the truth about a line, and wake its queue if it is runnable."""
        if not self.is_runnable(w, line):
            return w._replace(waiting=w.waiting - {line})
        return w._replace(waiting=w.waiting | {line}, wakeups=w.wakeups | {(w.lines[line].home, line)})

    def finish(self, w: World, number: int) -> World:
        """The one way to end: result, counters, last event, out of the line. The rest may be forgotten."""
        line = self.scenario.line_of[number]
        jobs = put(w.jobs, number, Job(State.DONE, ends=w.jobs[number].ends + 1))
        w = w._replace(jobs=jobs, wishes=w.wishes - {("cancel", number), ("expire", number)})
        pending, home, closing = w.lines[line]
        rest = tuple(other for other in pending if other != number)
        if pending[:1] == (number,) and (closing or line not in self.scenario.sessions):
            home, closing = SHARED, False
        return w._replace(lines=put(w.lines, line, Line(rest, home, closing)))

    def give_up(self, w: World, number: int, is_drain: bool = False) -> World:
        """Take a claim from a holder that is gone: end the job, or queue it again where it stands."""
        job, line = w.jobs[number], self.scenario.line_of[number]
        starts = job.starts + (job.state is State.STARTING and not is_drain)
        is_cancelled = job.cancelled_at is not None and "reclaim_ignores_cancel" not in self.broken
        is_lost = job.state is State.RUNNING and job.runs > self.scenario.retries[number]
        is_hopeless = job.state is State.STARTING and starts >= MAX_STARTS
        if is_cancelled or is_lost or (is_hopeless and "unbounded_starts" not in self.broken):
            return self.rouse(self.finish(w, number), line)
        w = w.change("jobs", number, state=State.QUEUED, node=None, starts=starts)
        if line not in self.scenario.sessions:
            w = w.change("lines", line, home=SHARED)  # its sandbox may have been used, so it is not used again
        if "requeue_at_tail" in self.broken:
            w = w.change("lines", line, pending=(*w.lines[line].pending[1:], number))
        return self.rouse(w, line)

    def give_up_claims(self, w: World, node: int, held: Collection[int] = ()) -> World:
        for number, job in enumerate(w.jobs):
            if job.node == node and number not in held:
                w = self.give_up(w, number)
        return w

    def claim(self, w: World, line: int, node: int) -> Answer:
        number = w.lines[line].pending[0]
        hand = Hand(number, w.jobs[number].claim + 1, Phase.READY if w.lines[line].home == node else Phase.COLD)
        w = w.change("jobs", number, state=State.STARTING, claim=hand.claim, node=node)
        return w._replace(waiting=w.waiting - {line}), hand

    # Scripts of clients, operators and clocks.
    def submit(self, w: World, number: int) -> World:
        line = self.scenario.line_of[number]
        pending = w.lines[line].pending
        w = w.change("jobs", number, state=State.QUEUED).change("lines", line, pending=(*pending, number))
        return w if pending else self.rouse(w, line)  # behind others it is parked: nobody to wake

    def cancel(self, w: World, number: int) -> World:
        if w.jobs[number].state is State.QUEUED or "cancel_before_kill" in self.broken:
            return self.rouse(self.finish(w, number), self.scenario.line_of[number])
        return w.change("jobs", number, cancelled_at=w.jobs[number].runs)

    def close(self, w: World, line: int) -> World:
        """Cancel every job; where one is claimed, its end completes the close."""
        is_busy = any(w.jobs[number].node is not None for number in w.lines[line].pending)
        for number in w.lines[line].pending:
            w = self.cancel(w, number)
        return w.change("lines", line, closing=True) if is_busy else w.change("lines", line, home=SHARED)

    def sweep(self, w: World, line: int) -> World:
        may_end = not w.lines[line].pending or "sweep_drops_pending" in self.broken
        return w.change("lines", line, home=SHARED, pending=()) if may_end else w

    # Scripts of a worker's thread. Unless it `holds` the lease, they answer LeaseLost and change nothing.
    def acquire(self, w: World, line: int, node: int) -> Answer:
        """Claim the head of the line. Fenced, Busy, Done and Elsewhere change no record."""
        if w.nodes[node].is_known_dead or not self.is_runnable(w, line):
            return w, None
        if w.lines[line].home not in (SHARED, node):
            return self.rouse(w, line), None
        return self.claim(w, line, node)

    def bind(self, w: World, node: int, hand: Hand) -> Answer:
        """Give a new sandbox to the line. LeaseLost destroys it; a start that failed gives up."""
        if hand.job in self.scenario.poison:
            return self.give_up(w, hand.job), None
        return w.change("lines", self.scenario.line_of[hand.job], home=node), hand._replace(phase=Phase.READY)

    def start(self, w: World, hand: Hand) -> Answer:
        """Write `running`; only then may the exec frame leave."""
        if w.jobs[hand.job].cancelled_at is not None and "start_ignores_cancel" not in self.broken:
            return w, hand._replace(phase=Phase.KILLED)
        w = w.change("jobs", hand.job, state=State.RUNNING, runs=w.jobs[hand.job].runs + 1)
        return w, hand._replace(phase=Phase.RUNNING)

    def settle(self, w: World, node: int, hand: Hand, may_continue: bool) -> Answer:
        """End the job, then claim the next of its line, or wake the line's queue."""
        w, line = self.finish(w, hand.job), self.scenario.line_of[hand.job]
        if "drop_busy_without_continuation" in self.broken:
            return w, None
        if may_continue and self.is_runnable(w, line) and w.lines[line].home == node:
            return self.claim(w, line, node)
        return self.rouse(w, line), None

    # Scripts of a node's heartbeat and of the reaper.
    def heartbeat(self, w: World, number: int, is_new: bool = False) -> World:
        """Drop leases that Redis gave up, give up claims that nobody here holds (a new incarnation: all), thaw."""
        old = w.nodes[number]
        hands = () if is_new or old.is_known_dead else tuple(hand for hand in old.hands if self.holds(w, hand))
        w = w._replace(nodes=put(w.nodes, number, Node(draining=old.draining and not is_new, hands=hands)))
        return w if "no_disown" in self.broken else self.give_up_claims(w, number, {hand.job for hand in hands})

    def reclaim(self, w: World, number: int) -> World:
        return self.give_up_claims(w.change("nodes", number, is_known_dead=True), number)

    def forget(self, w: World, number: int) -> World:
        """The node stays away: delete its queue, call its sessions lost, wake the shared queue."""
        return self.lose_sandboxes(w._replace(wakeups=frozenset(x for x in w.wakeups if x[0] != number)), number)

    def lose_sandboxes(self, w: World, node: int) -> World:
        for number, line in enumerate(w.lines):
            w = self.rouse(w.change("lines", number, home=SHARED), number) if line.home == node else w
        return w

    def detach(self, w: World, line: int) -> World:
        """The sandbox of an idle session does not exist any more."""
        pending = w.lines[line].pending
        is_idle = not pending or w.jobs[pending[0]].node is None
        return self.rouse(w.change("lines", line, home=SHARED), line) if is_idle else w

    # What can happen next.
    def moves(self, w: World) -> Iterator[Move]:
        yield from self.client_moves(w)
        for number in range(len(w.nodes)):
            yield from self.node_moves(w, number)
            yield from self.thread_moves(w, number)
        for wakeup in w.wakeups:
            yield from self.wakeup_moves(w, wakeup)
        if any(map(w.works, range(len(w.nodes)))):
            yield from self.reaper_moves(w)

    def client_moves(self, w: World) -> Iterator[Move]:
        for number in [number for number, job in enumerate(w.jobs) if job.state is State.NEW][:1]:
            yield Kind.CHOICE, f"submit job {number}", self.submit(w, number)
        for wish in w.wishes:
            (verb, target), granted = wish, w._replace(wishes=w.wishes - {wish})
            match verb:
                case "cancel" if w.jobs[target].state is not State.NEW:
                    yield Kind.CHOICE, f"cancel job {target}", self.cancel(granted, target)
                case "expire" if w.jobs[target].state is State.QUEUED and not w.jobs[target].runs:
                    yield Kind.CHOICE, f"job {target} expires", self.cancel(granted, target)
                case "close" if w.lines[target].pending or w.lines[target].home != SHARED:
                    yield Kind.CHOICE, f"close session {target}", self.close(granted, target)
                case "sweep" if w.lines[target].home != SHARED:
                    yield Kind.CHOICE, f"sweep session {target}", self.sweep(granted, target)
                case "drain" if w.works(target):
                    yield Kind.CHOICE, f"drain node {target}", granted.change("nodes", target, draining=True)

    def node_moves(self, w: World, number: int) -> Iterator[Move]:
        node, who = w.nodes[number], f"node {number}"
        comeback = Kind.CHOICE if any(map(w.works, range(len(w.nodes)))) else Kind.DUTY  # nobody else can
        if not node.up:
            yield Kind.DUTY, f"{who}: guests miss their worker and stop", w.change("nodes", number, hands=())
            adopted = self.heartbeat(w, number, is_new=True)
            yield comeback, f"{who} restarts", adopted
            yield Kind.CHOICE, f"{who} restarts, sandboxes gone", self.lose_sandboxes(adopted, number)
            return
        if number < self.scenario.frail:
            orphans = tuple(hand for hand in node.hands if hand.phase is Phase.RUNNING)
            crashed = Node(False, frozen=node.frozen, is_known_dead=node.is_known_dead, hands=orphans)
            yield Kind.FAULT, f"{who} crashes", w._replace(nodes=put(w.nodes, number, crashed))
            if node.linked:
                yield Kind.FAULT, f"{who} loses Redis", w.change("nodes", number, linked=False)
                for line in self.scenario.sessions:
                    if w.lines[line].home == number:
                        yield Kind.FAULT, f"{who}: the sandbox of session {line} dies", self.detach(w, line)
        if not node.linked:
            yield Kind.DUTY, f"{who} freezes its sandboxes", w.change("nodes", number, frozen=True)
            yield comeback, f"{who} reaches Redis again", w.change("nodes", number, linked=True)
            return
        yield Kind.DUTY, f"{who} heartbeat", self.heartbeat(w, number)
        if node.draining and not node.hands:
            yield Kind.DUTY, f"{who} is drained and exits", w.change("nodes", number, up=False, draining=False)

    def thread_moves(self, w: World, number: int) -> Iterator[Move]:
        for hand in w.nodes[number].hands if w.nodes[number].up else ():
            rest = tuple(other for other in w.nodes[number].hands if other != hand)
            for kind, verb, (after, kept) in self.lease_moves(w, number, hand):
                hands = tuple(sorted((*rest, kept))) if kept else rest
                yield (
                    kind,
                    f"node {number}, job {hand.job}.{hand.claim}: {verb}",
                    after.change("nodes", number, hands=hands),
                )

    def lease_moves(  # noqa: C901 - one branch for each thing that can happen to a lease, read in order
        self, w: World, number: int, hand: Hand
    ) -> Iterator[tuple[Kind, str, Answer]]:
        node, phase = w.nodes[number], hand.phase
        if phase is Phase.RUNNING and not node.frozen:
            yield Kind.DUTY, "code ends", (w, hand._replace(phase=Phase.FINISHED))
        if not node.linked:
            return
        if not self.holds(w, hand):
            if phase is not Phase.RUNNING:  # whose code the heartbeat kills first
                yield Kind.DUTY, "LeaseLost", (w, None)
            return
        if w.jobs[hand.job].cancelled_at is not None and phase in (Phase.COLD, Phase.RUNNING):
            yield Kind.DUTY, "killed for cancel", (w, hand._replace(phase=Phase.KILLED))
        if node.draining and phase is not Phase.FINISHED:
            yield Kind.DUTY, "given back by drain", (self.give_up(w, hand.job, is_drain=True), None)
        if phase is Phase.COLD:
            yield Kind.DUTY, "bind", self.bind(w, number, hand)
        elif phase is Phase.READY and not node.frozen:
            yield Kind.DUTY, "start", self.start(w, hand)
        elif phase in (Phase.FINISHED, Phase.KILLED):
            for may_continue in (False,) if node.draining else (False, True):
                after, following = self.settle(w, number, hand, may_continue)
                verb = "settle, continue" if following else "settle"
                yield Kind.DUTY, verb, (after, following)
                yield Kind.FAULT, f"{verb}, answer lost", (after, hand)  # it will ask again, with the same token

    def wakeup_moves(self, w: World, wakeup: tuple[int, int]) -> Iterator[Move]:
        queue, line = wakeup
        taken = w._replace(wakeups=w.wakeups - {wakeup})
        yield Kind.FAULT, f"wake-up of line {line} in queue {queue} is lost", taken
        for number, node in enumerate(w.nodes):
            if queue not in (SHARED, number) or not w.works(number) or node.draining or node.frozen:
                continue
            after, hand = self.acquire(taken, line, number)
            verb = f"acquires job {hand.job} by" if hand else "drops"
            verb = f"node {number} {verb} wake-up of line {line} in queue {queue}"
            held = after.change("nodes", number, hands=tuple(sorted((*node.hands, hand)))) if hand else after
            yield Kind.DUTY, verb, held
            if hand:
                yield Kind.FAULT, f"{verb}, doubled", held._replace(wakeups=held.wakeups | {wakeup})
                yield Kind.FAULT, f"{verb}, answer lost", after

    def reaper_moves(self, w: World) -> Iterator[Move]:
        silent = [(number, node) for number, node in enumerate(w.nodes) if not w.works(number)]
        for number, node in silent:
            has_stopped = node.frozen or (not node.up and not node.hands)
            if not node.is_known_dead and (has_stopped or "late_fence" in self.broken):
                yield Kind.DUTY, f"reaper reclaims node {number}", self.reclaim(w, number)
            if node.is_known_dead and "no_forget" not in self.broken:
                yield Kind.DUTY, f"reaper forgets node {number}", self.forget(w, number)
        for line in w.waiting if "no_resend" not in self.broken else ():
            yield Kind.DUTY, f"reaper wakes line {line} again", self.rouse(w, line)


PROMISES: dict[str, Callable[[Protocol, World], bool]] = {
    "A job ends exactly once; a stale settle changes nothing.":
        lambda _, w: all(job.ends == (job.state is State.DONE) for job in w.jobs),
    "Code starts once per attempt, and has at most 1 + retries attempts.":
        lambda p, w: all(job.runs <= 1 + retries for job, retries in zip(w.jobs, p.scenario.retries, strict=True)),
    "Jobs of a session start in submit order, each after the one before has ended.":
        lambda p, w: not any(line == other and later.runs and earlier.state is not State.DONE
                             for (line, earlier), (other, later) in combinations(
                                 zip(p.scenario.line_of, w.jobs, strict=True), 2)),
    "A session, like a job, never executes in two places.":
        lambda p, w: len({p.scenario.line_of[number] for _, number in w.executing()}) == len(w.executing()),
    "A job that has ended (cancelled, lost, ...) is not running anywhere.":
        lambda _, w: all(w.jobs[number].state is not State.DONE for _, number in w.executing()),
    "After cancel was accepted, no attempt is started.":
        lambda _, w: all(job.cancelled_at in (None, job.runs) for job in w.jobs),
    "`waiting` holds exactly the runnable lines, whatever the continuation budget.":
        lambda p, w: w.waiting == {line for line in range(len(w.lines)) if p.is_runnable(w, line)},
}  # fmt: skip
NOT_STUCK = "Every accepted job can still end by the duties of the living alone."


def explore(protocol: Protocol) -> tuple[int, str | None, list[str]]:
    """Visit all worlds, breadth first: how many, the first broken promise, a shortest way there."""
    _, line_of, _, _, wishes, _, faults, _ = protocol.scenario
    worlds = [World((Job(),) * len(line_of), (Line(),) * len({*line_of}), (Node(),) * 2, frozenset(wishes), faults)]
    number_of, came_from = {worlds[0]: 0}, [(0, "")]
    duties: list[list[int]] = [[]]  # for each world, the worlds that a duty leads to it from

    def trace(number: int) -> list[str]:
        before, label = came_from[number]
        return [*trace(before), f"{label:<72}  {worlds[number].sketch()}"] if number else []

    for number, world in enumerate(worlds):  # grows while we walk it
        for promise, is_kept in PROMISES.items():
            if not is_kept(protocol, world):
                return len(worlds), promise, trace(number)
        for kind, label, after in protocol.moves(world):
            after = after._replace(faults=world.faults - (kind is Kind.FAULT))
            if after.faults < 0 or max(job.claim for job in after.jobs) > MAX_CLAIMS:
                continue
            target = number_of.setdefault(after, len(worlds))
            if target == len(worlds):
                worlds.append(after)
                came_from.append((number, label))
                duties.append([])
            if kind is Kind.DUTY and target != number:
                duties[target].append(number)

    # Walk the duties backwards from every world without an open job: who is not met, is stuck.
    goals = [n for n, w in enumerate(worlds) if all(job.state in (State.NEW, State.DONE) for job in w.jobs)]
    can_end = set(goals)
    while goals:
        nearer = [number for number in duties[goals.pop()] if number not in can_end]
        can_end.update(nearer)
        goals.extend(nearer)
    stuck = next((number for number in range(len(worlds)) if number not in can_end), None)
    return len(worlds), None if stuck is None else NOT_STUCK, trace(stuck or 0)


SCENARIOS = (
    Scenario("retries, two faults", (0, 0), {0}, (1, 0), faults=2, frail=2),
    Scenario("drain", (0, 0), {0}, (0, 1), {("drain", 0)}, frail=2),
    Scenario("close, sweep", (0, 0, 0), {0}, (1, 0, 0), {("close", 0), ("sweep", 0), ("expire", 1)}),
    Scenario("cancel", (0, 0, 1), {0}, (1, 0, 0), {("cancel", 0), ("cancel", 1)}),
    Scenario("a sandbox that never starts", (0, 0), {0}, (1, 0), poison={0}),
    Scenario("two sessions and a job of its own", (0, 1, 0, 2), {0, 1}, (0, 0, 0, 0)),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Explore the protocol; report the first broken promise.")
    parser.add_argument("--break", dest="broken", choices=BREAKS, action="append", default=[], help=str(BREAKS))
    broken, began, total = frozenset(parser.parse_args().broken), time.monotonic(), 0
    for scenario in SCENARIOS:
        count, promise, trace = explore(Protocol(scenario, broken))
        total += count
        print(f"{count:>9,} worlds  {time.monotonic() - began:5.1f} s  {scenario.name}", flush=True)
        if promise:
            print("", f"BROKEN: {promise}", *trace, sep="\n  ")
            return 1
    print(f"{total:>9,} worlds. In every one of them:", *PROMISES, NOT_STUCK, sep="\n  ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
