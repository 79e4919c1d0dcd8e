"""What do tests of the scripts stand on? A `Desk`: every script by name, with the arguments that tests do not care for.

Back-off is 0 by default, so that a job that was given up can be claimed again at once.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
import redis as redis_py

from leasebox.contract import wire
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, answers, client, client_answers, node, worker

TENANT = "acme"


class Desk:
    """Calls scripts as client, worker and reaper; node `n` has incarnation `n-1` until told otherwise."""

    def __init__(self, redis: redis_py.Redis, prefix: str) -> None:
        self.redis = redis
        self.keys = Keys(prefix, queue_prefix=prefix)
        self.run = Runner(redis).run
        self.leases = 0
        self.numbers = count()

    def lease(self, incarnation: str = "n-1") -> str:
        self.leases += 1
        return f"{incarnation}:{self.leases}"

    def record(self, job: str | None = None, **fields: Any) -> client.NewJob:
        job = job or f"{self.keys.prefix}-j{next(self.numbers)}"
        given = {
            "kind": "program", "tenant": TENANT, "session": None, "profile": None, "priority": "default",
            "spec": b'{"code":"1"}', "digest": "d",
            "wake_head": b'{"properties":{"delivery_tag":"', "wake_tail": b'"}}',
        }  # fmt: skip
        return client.NewJob(job=job, **{**given, **fields})

    def submit(self, job: str | None = None, **fields: Any) -> client_answers.SubmitAnswer:
        return self.run(client.submit(self.keys, record=self.record(job, **fields)))

    def new(self, job: str | None = None, **fields: Any) -> str:
        """Submit a job and return its id."""
        answer = self.submit(job, **fields)
        assert isinstance(answer, client_answers.Accepted)
        return answer.job

    def register(self, name: str = "n", incarnation: str | None = None, **fields: Any) -> answers.AdoptAnswer:
        given = {"machine_id": "m", "has_proof": True, "driver": "process", "slots": 4, "backoff_s": (0,)}
        incarnation = incarnation or f"{name}-1"
        return self.run(node.adopt(self.keys, node=name, incarnation=incarnation, **{**given, **fields}))

    def acquire(self, job: str, name: str = "n", **fields: Any) -> answers.AcquireAnswer:
        incarnation = fields.pop("incarnation", f"{name}-1")
        lease = fields.pop("lease", None) or self.lease(incarnation)
        return self.run(worker.acquire(self.keys, job=job, node=name, incarnation=incarnation, lease=lease, **fields))

    def claim(self, job: str, name: str = "n", **fields: Any) -> answers.Work:
        answer = self.acquire(job, name, **fields)
        assert isinstance(answer, (answers.Cold, answers.Leased)), answer
        return answer.work

    def bind(self, work: answers.Work, sandbox: str = "box", **fields: Any) -> answers.BindAnswer:
        given = {"job": work.job, "lease": work.lease, "node": "n", "sandbox": sandbox}
        return self.run(worker.bind(self.keys, **{**given, **fields}))

    def start(self, work: answers.Work, **fields: Any) -> answers.StartAnswer:
        given = {"job": work.job, "lease": work.lease, "deadline_s": 30.0, "frame": "f"}
        return self.run(worker.start(self.keys, **{**given, **fields}))

    def emit(self, work: answers.Work, *chunks: worker.Chunk, **fields: Any) -> answers.EmitAnswer:
        given = {"job": work.job, "lease": work.lease, "claims": work.claims, "chunks": chunks}
        return self.run(worker.emit(self.keys, **{**given, **fields}))

    def ending(self, job: str, outcome: str = "ok") -> worker.Ending:
        result = json.dumps({"job": job, "outcome": outcome})
        meta = wire.meta_text(job, outcome, result, done_at=1.5)
        return worker.Ending(outcome, meta, wire.finished_json(result), exit_code=0, cpu_s=0.1)

    def settle(self, work: answers.Work, outcome: str = "ok", **fields: Any) -> answers.SettleAnswer:
        given = {
            "job": work.job, "lease": work.lease, "end": self.ending(work.job, outcome), "next_lease": work.lease + "0",
            "may_continue": False,
        }  # fmt: skip
        return self.run(worker.settle(self.keys, **{**given, **fields}))

    def give_up(self, work: answers.Work, why: str, **fields: Any) -> answers.GiveUpAnswer:
        given = {"job": work.job, "lease": work.lease, "why": why, "backoff_s": (0,)}
        return self.run(worker.give_up(self.keys, **{**given, **fields}))

    def cancel(self, job: str, tenant: str = TENANT) -> client_answers.CancelAnswer:
        return self.run(client.cancel(self.keys, job=job, tenant=tenant))

    def close(self, session: str) -> client_answers.CloseAnswer:
        return self.run(client.close(self.keys, tenant=TENANT, session=session))

    def heartbeat(self, *held: tuple[str, str], name: str = "n", **fields: Any) -> answers.HeartbeatAnswer:
        given = {
            "node": name, "incarnation": f"{name}-1", "held": held, "slots": 4, "busy": len(held),
            "disown_after_s": 0.0, "backoff_s": (0,),
        }  # fmt: skip
        return self.run(node.heartbeat(self.keys, **{**given, **fields}))

    def reclaim(self, name: str = "n", **fields: Any) -> answers.ReclaimAnswer:
        counter = self.redis.zscore(self.keys.nodes(), name) or 0.0
        given = {"node": name, "incarnation": f"{name}-1", "seen_counter": counter, "backoff_s": (0,)}
        return self.run(node.reclaim(self.keys, **{**given, **fields}))

    def forget(self, name: str = "n", **fields: Any) -> answers.ForgetAnswer:
        given = {"node": name, "incarnation": f"{name}-1", "adopt_grace_s": 0.0}
        return self.run(node.forget(self.keys, **{**given, **fields}))

    def sweep(self, session: str, generation: int, **fields: Any) -> answers.SweepAnswer:
        return self.run(node.sweep(self.keys, line=f"{TENANT}/{session}", generation=generation, **fields))

    def expire(self) -> answers.Swept:
        return self.run(node.expire(self.keys))

    def resend(self, queue: str, grace_s: float = 0.0) -> int:
        return self.run(node.resend(self.keys, queue=queue, grace_s=grace_s))

    def job(self, job: str) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.redis.hgetall(self.keys.job(job)).items()}

    def session(self, session: str) -> dict[str, str]:
        found = self.redis.hgetall(self.keys.session(TENANT, session))
        return {k.decode(): v.decode() for k, v in found.items()}

    def events(self, job: str) -> list[tuple[str, str, bytes]]:
        """(id, type, data or json) of each."""
        entries = self.redis.xrange(self.keys.events(job))
        return [
            (place.decode(), fields[b"type"].decode(), fields.get(b"data", fields.get(b"json")))
            for place, fields in entries
        ]

    def kinds(self, job: str) -> list[str]:
        return [kind for _, kind, _ in self.events(job)]

    def messages(self, priority: str = "default", name: str | None = None) -> list[str]:
        """Delivery tags without their stamps, oldest first."""
        found = self.redis.lrange(self.keys.queue(priority, name), 0, -1)
        return [json.loads(m)["properties"]["delivery_tag"].split(".")[0] for m in reversed(found)]

    def waiting(self, priority: str = "default", name: str | None = None) -> list[str]:
        return [line.decode() for line in self.redis.zrange(self.keys.waiting(self.keys.queue(priority, name)), 0, -1)]

    def dump(self) -> dict[bytes, bytes]:
        """All that the scripts can have written."""
        found = [*self.redis.scan_iter(f"{self.keys.prefix}*"), *self.redis.scan_iter("celery-task-meta-*")]
        return {key: value for key in found if (value := self.redis.dump(key)) is not None}


@pytest.fixture
def desk(redis: redis_py.Redis, prefix: str) -> Desk:
    desk = Desk(redis, prefix)
    desk.register()
    return desk
