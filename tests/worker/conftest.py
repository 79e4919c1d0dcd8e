"""What do tests of a worker's parts stand on? A `Node`: its identity, lease tracker and scripts on the real Valkey."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import redis as redis_py

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, answers, client, client_answers, worker
from leasebox.contract.wire import finished_json, meta_text
from leasebox_worker.lifecycle import node as lifecycle_node
from leasebox_worker.lifecycle.tracker import Identity, LeaseTracker

TENANT = "acme"


class NodeUnderTest:
    """One registered node, and a client that submits to it."""

    def __init__(
        self, redis: redis_py.Redis, prefix: str, name: str = "n", incarnation: str = "n-1", *, machine_id: str = "m"
    ) -> None:
        self.redis = redis
        self.keys = Keys(prefix, queue_prefix=prefix)
        self.runner = Runner(redis)
        self.tracker = LeaseTracker(self.runner, self.keys, Identity(name, incarnation), start_timeout_s=30.0)
        facts = lifecycle_node.Facts(machine_id=machine_id, driver="process", slots=4, versions_json="{}")
        self.node = lifecycle_node.Node(self.runner, self.keys, self.tracker, facts)
        self._numbers = count()

    def adopt(self, *, has_proof: bool = True, wait_s: float = 0.0) -> answers.Adopted:
        return self.node.adopt([], has_proof=has_proof, reclaim_s=15.0, wait_s=wait_s)

    def submit(self, session: str | None = None, spec: dict[str, Any] | None = None, **fields: Any) -> str:
        given = {
            "job": f"{self.keys.prefix}-j{next(self._numbers)}", "kind": "program", "tenant": TENANT,
            "session": session, "profile": None, "priority": "default", "digest": "d",
            "spec": json.dumps(spec or {"code": "print(42)"}).encode(),
            "wake_head": b'{"properties":{"delivery_tag":"', "wake_tail": b'"}}',
        }  # fmt: skip
        answer = self.runner.run(client.submit(self.keys, record=client.NewJob(**{**given, **fields})))
        assert isinstance(answer, client_answers.Accepted), answer
        return answer.job

    def cancel(self, job: str) -> client_answers.CancelAnswer:
        return self.runner.run(client.cancel(self.keys, job=job, tenant=TENANT))

    def claim(self, job: str) -> answers.Work:
        answer = self.tracker.acquire(job, self.tracker.new_lease(), draining=False, room=True)
        assert isinstance(answer, answers.Leased | answers.Cold), answer
        return answer.work

    def run_to_idle(self, session: str, sandbox: str = "box") -> answers.Work:
        """Give a session a sandbox, by one job that ends well."""
        work = self.claim(self.submit(session))
        self.tracker.bind(work, sandbox, why="lost")
        self.tracker.start(work, deadline_s=5.0, sandbox_name=sandbox)
        self.settle(work)
        return work

    def settle(self, work: answers.Work, **fields: Any) -> answers.Next | answers.Free:
        result = json.dumps({"job": work.job, "outcome": "ok"})
        ending = worker.Ending("ok", meta_text(work.job, "ok", result, done_at=1.5), finished_json(result), exit_code=0)
        given: dict[str, Any] = {
            "next_lease": self.tracker.new_lease(), "may_continue": False, "sandbox_alive": True, "sandbox_reason": "",
        }  # fmt: skip
        return self.tracker.settle(work, ending, [], **{**given, **fields})

    def job(self, job: str) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.redis.hgetall(self.keys.job(job)).items()}

    def session(self, session: str) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.redis.hgetall(self.keys.session(TENANT, session)).items()}

    def result(self, job: str) -> dict[str, Any]:
        """The Result as Celery's clients find it."""
        text = self.redis.get(f"celery-task-meta-{job}")
        assert text is not None
        found: dict[str, Any] = json.loads(text)["result"]
        return found


@pytest.fixture
def worker_node(redis: redis_py.Redis, prefix: str) -> NodeUnderTest:
    """A node that is registered."""
    made = NodeUnderTest(redis, prefix)
    made.adopt()
    return made


@pytest.fixture
def new_node(redis: redis_py.Redis, prefix: str) -> Callable[..., NodeUnderTest]:
    """Make a further process on the same Redis, by node name and incarnation; not registered yet."""
    return lambda name, incarnation, **given: NodeUnderTest(redis, prefix, name, incarnation, **given)
