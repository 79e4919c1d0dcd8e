"""How does a round go? Load and faults together; then quiet; then everything is looked at; then all is shut down.

Phases, each with its own deadline, so that a round ends by itself: load (with faults), settle (until all jobs have
ended, or none does any more), close (every session, until no key and no sandbox is left without an owner), leave
(SIGTERM, nothing stays).
"""

import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
import redis as redis_py
from tests.chaos import check, leftovers
from tests.chaos.evidence import Case, Hit, read_case
from tests.chaos.faults import Monkey
from tests.chaos.load import Load
from tests.chaos.plan import Plan
from tests.chaos.supervisor import Supervisor
from tests.chaos.system import START_WITHIN_S, System, running_system, wait_for
from tests.chaos.watch import Watcher, sign_of

from leasebox.client import Client
from leasebox.config import ClientSettings
from leasebox.contract.scripts import Runner
from leasebox.contract.scripts import client as scripts

STUCK_S = 60.0
"""No job has ended for so long: longer than any pause of the protocol, which the shortened timers make 20 s at most."""
READERS_S = 15.0
"""A reader looks at the record each five seconds, should its stream tell it nothing."""
STRAY_S = 30.0
"""How long a key may be left behind."""
OWNERLESS_S = 150.0
"""The same for a sandbox: reconcile looks each minute at what is older than a minute."""
PROGRESS_S = 5.0
LAST_LINES = 40


@dataclass
class Report:
    """What came of a round."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    logs: Path | None = None

    def text(self) -> str:
        """For people: what is wrong first, then what was done."""
        outcomes = Counter(case.outcome or "unfinished" for case in self.cases)
        failed = [str(case) for case in self.cases if case.outcome == "infra"]
        return "\n".join(
            [
                f"seed {self.plan.seed}: {len(self.cases)} jobs, {len(self.hits)} faults, {len(self.wrong)} wrong",
                f"outcomes: {dict(sorted(outcomes.items()))}",
                *(f"  three failed starts: {text}" for text in failed),
                *(f"  WRONG {text}" for text in self.wrong[:LAST_LINES]),
                *(["  and more"] if len(self.wrong) > LAST_LINES else []),
                *(f"  fault {hit}" for hit in self.hits if self.wrong),
                *(f"  {note}" for note in self.notes),
                *([f"  logs and evidence: {self.logs}"] if self.logs else []),
            ]
        )


def play(plan: Plan, drivers: Sequence[str], *, engine: docker.DockerClient | None, within_s: float) -> Report:
    """Play a round on a system of its own.

    Args:
        drivers: One worker for each.
        engine: None where no worker uses Docker.
        within_s: For the load, and once more for all jobs to end; what follows has deadlines of its own.
    """
    report = Report(plan)
    print(
        f"\nchaos: seed {plan.seed}, {len(plan.jobs)} jobs, {len(plan.faults)} faults on {', '.join(drivers)}",
        flush=True,
    )
    with ExitStack() as stack:
        system = stack.enter_context(running_system(drivers))
        if engine is not None:
            stack.callback(_remove_containers, engine, _installation(system))
        settings = ClientSettings(url=system.url, home=system.home / "client", events_ttl_s=3600.0)
        client = stack.enter_context(Client(settings=settings))
        _Round(system, client, report, engine).play(within_s)
        if report.wrong:
            report.logs = _keep(system, report)
    print(report.text(), flush=True)
    return report


class _Round:
    def __init__(self, system: System, client: Client, report: Report, engine: docker.DockerClient | None) -> None:
        self._system = system
        self._client = client
        self._report = report
        self._engine = engine
        self._installation = _installation(system)
        self._began = time.monotonic()
        self._supervisor = Supervisor(system, self._say)
        self._monkey = Monkey(system, engine, self._say, self._supervisor.look)
        self._watcher = Watcher(system.home, sign_of(report.plan.seed))

    def _say(self, text: str) -> None:
        print(f"  {time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def play(self, within_s: float) -> None:
        """All phases; one that finds something wrong does not keep the next from looking."""
        self._watcher.start()
        load = self._load(within_s)
        with self._system.server.connect() as redis:
            self._settle(redis, load, within_s)
            self._look_at_jobs(redis, load)
            self._look_at_workers()
            self._close(redis)
            self._leave(redis)

    def _load(self, within_s: float) -> Load:
        plan, stop = self._report.plan, threading.Event()
        load = Load(self._client, plan)
        began = self._began = time.monotonic()
        threads = [
            threading.Thread(target=load.submit_all, args=(began, stop)),
            threading.Thread(target=load.cancel_all, args=(stop,)),
            threading.Thread(target=self._monkey.run, args=(plan.faults, began, stop)),
        ]
        for thread in threads:
            thread.start()
        next_word = began
        while any(thread.is_alive() for thread in threads):
            if time.monotonic() - began > within_s:
                self._report.wrong.append(f"the load was not through after {within_s} s")
                stop.set()
            if time.monotonic() >= next_word:
                self._say(f"{len(load.jobs)} of {len(plan.jobs)} submitted")
                next_word += PROGRESS_S
            threads[0].join(0.2) if threads[0].is_alive() else threads[2].join(0.2)
        self._report.hits = self._monkey.hits
        self._report.notes += [f"missed: {fault.kind}" for fault in self._monkey.missed]
        if load.repeats:
            self._report.notes.append(f"{load.repeats} submits were tried again")
        return load

    def _settle(self, redis: redis_py.Redis, load: Load, within_s: float) -> None:
        keys, open_jobs = self._system.keys, set(load.jobs)
        next_word = last_end = time.monotonic()

        def is_through() -> bool:
            nonlocal next_word, last_end
            self._supervisor.look()
            self._monkey.bring_back(redis)
            ended = {job for job in open_jobs if redis.hget(keys.job(job), "state") in (b"finished", None)}
            open_jobs.difference_update(ended)
            now = time.monotonic()
            last_end = now if ended else last_end
            if now >= next_word:
                self._say(f"{len(open_jobs)} jobs have not ended")
                next_word = now + PROGRESS_S
            return not (open_jobs or self._monkey.gone) or now - last_end > STUCK_S

        wait_for(is_through, within_s)
        wait_for(lambda: all(reading.is_over for reading in load.readings.values()), READERS_S)

    def _look_at_jobs(self, redis: redis_py.Redis, load: Load) -> None:
        keys, report = self._system.keys, self._report
        report.cases = [read_case(redis, keys, plan, job) for job, plan in load.jobs.items()]
        report.wrong += check.check_all(report.cases, report.hits)
        report.wrong += check.in_two_places(report.cases, self._watcher.seen, self._watcher.twins)
        cases = {case.job: case for case in report.cases}
        for job, reading in load.readings.items():
            report.wrong += check.misread(cases[job], reading)
        pattern = keys.job("*")
        stored = [name.decode() for name in redis.scan_iter(pattern, count=1000, _type="hash")]
        report.wrong += check.made_twice(load.jobs, [name.removeprefix(pattern[:-1]) for name in stored])

    def _look_at_workers(self) -> None:
        report = self._report
        report.notes += self._supervisor.told
        report.wrong += self._supervisor.wrong()
        report.wrong += [f"worker {gone.node} was never forgotten" for gone in self._monkey.gone]
        up = [worker.node for worker in self._system.workers if worker.is_alive]
        if not wait_for(lambda: self._system.registered() >= set(up), START_WITHIN_S):
            report.wrong.append(f"of the workers {up} not all are in service: {sorted(self._system.registered())}")

    def _close(self, redis: redis_py.Redis) -> None:
        """Close the sessions; then nothing may be left that has no owner."""
        keys, runner = self._system.keys, Runner(redis)
        tenant = self._client.settings.tenant
        for name in sorted({job.session for job in self._report.plan.jobs if job.session}):
            runner.run(scripts.close(keys, tenant=tenant, session=name))
        nodes = frozenset(worker.node for worker in self._system.workers)
        self._say("sessions closed")
        self._gone_within(STRAY_S, lambda: leftovers.stray_keys(leftovers.read_keys(redis), keys, live_nodes=nodes))
        self._gone_within(OWNERLESS_S, lambda: leftovers.unowned_sandboxes(self._existing(), _pooled(redis)))

    def _gone_within(self, within_s: float, look: Callable[[], list[str]]) -> None:
        found: list[str] = []

        def is_gone() -> bool:
            found[:] = look()
            return not found

        if not wait_for(is_gone, within_s):
            self._report.wrong += [f"{text}, {within_s} s after the sessions were closed" for text in found]

    def _leave(self, redis: redis_py.Redis) -> None:
        """End the workers as an operator does; nothing of them stays."""
        for worker in self._system.workers:
            status = worker.leave()
            if status != 0:
                self._report.wrong.append(f"worker {worker.node} left with status {status}")
        self._say("workers ended")
        self._watcher.stop()
        system = self._system
        pid = int(redis.info("server")["process_id"])
        found = leftovers.host_leftovers(
            system.home, self._all_names(), but_pids=[pid], but_sockets=[system.server.socket]
        )
        found += [f"container {name}" for name in self._containers()]
        found += leftovers.stray_keys(leftovers.read_keys(redis), system.keys, live_nodes=frozenset())
        self._report.wrong += [f"{text}, after the workers ended" for text in found]

    def _all_names(self) -> set[str]:
        started = {(e.fields or {})["sandbox"] for case in self._report.cases for e in case.of_type("started")}
        return self._watcher.sandboxes | started

    def _existing(self) -> set[str]:
        folders = {path.name for path in (self._system.home / "sandboxes").glob("*/*")}
        return folders | self._containers()

    def _containers(self) -> set[str]:
        if self._engine is None:
            return set()
        label = f"leasebox.installation={self._installation}"
        return {
            str(c.name) for c in self._engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        }


def _installation(system: System) -> str:
    with system.server.connect() as redis:
        return (redis.get(system.keys.installation()) or b"").decode()


def _pooled(redis: redis_py.Redis) -> set[str]:
    """Names of the sandboxes that stand in a pool."""
    texts = [text for key in redis.scan_iter("*:pool:*", count=1000, _type="list") for text in redis.lrange(key, 0, -1)]
    return {json.loads(text)["name"] for text in texts}


def _remove_containers(engine: docker.DockerClient, installation: str) -> None:
    for container in engine.containers.list(
        all=True, filters={"label": f"leasebox.installation={installation}"}, ignore_removed=True
    ):
        with suppress(docker.errors.DockerException):
            container.remove(force=True, v=True)


def _keep(system: System, report: Report) -> Path:
    """Copy what explains a failure out of the round's folder, which is about to go."""
    folder = Path(tempfile.gettempdir()) / f"leasebox-chaos-{report.plan.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for worker in system.workers:
        shutil.copy(worker.log, folder)
    told = [
        f"{case}\n  {dict(case.record)}\n" + "".join(f"    {event}\n" for event in case.events if not event.data)
        for case in report.cases
    ]
    (folder / "jobs.txt").write_text("".join(told))
    (folder / "report.txt").write_text(report.text())
    return folder
