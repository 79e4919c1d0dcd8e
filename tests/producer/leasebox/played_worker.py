"""A worker process of a few lines, for tests of the embedded stack: it registers, and ends each job with `ok`."""

import json
import os
import time
import uuid

import redis

from leasebox.contract import wire
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, answers, node, worker

QUEUE = "leasebox.default"


def main() -> None:
    """Serve until SIGTERM."""
    path = os.environ["LEASEBOX_URL"].removeprefix("redis+socket://").partition("?")[0]
    connection = redis.Redis(unix_socket_path=path, protocol=2)
    keys, run, incarnation = Keys(os.environ["LEASEBOX_PREFIX"]), Runner(connection).run, uuid.uuid4().hex
    names = {"node": "played", "incarnation": incarnation}
    run(node.adopt(keys, **names, machine_id="m", has_proof=True, driver="process", slots=1))
    while True:
        run(node.heartbeat(keys, **names, held=[], slots=1, busy=0))
        popped = connection.brpop([QUEUE], timeout=0.2)
        if popped:
            job = json.loads(popped[1])["headers"]["id"]
            finish(run, keys, names, job)


def finish(run: object, keys: Keys, names: dict[str, str], job: str) -> None:
    """Take a job through its life."""
    assert callable(run)
    lease = f"{names['incarnation']}:{time.monotonic_ns()}"
    claimed = run(worker.acquire(keys, job=job, **names, lease=lease))
    if not isinstance(claimed, answers.Cold):
        return
    run(worker.bind(keys, job=job, lease=lease, node="played", sandbox='{"id":"s"}'))
    run(worker.start(keys, job=job, lease=lease, deadline_s=30, frame="f", sandbox="s"))
    spec = json.loads(claimed.work.spec)
    chunk = worker.Chunk(worker.FIRST_SEQ, "stdout", spec["code"].encode())
    body = {"job": job, "outcome": "ok", "ok": True, "exit_code": 0, "stdout": spec["code"], "node": "played"}
    text = json.dumps(body)
    ending = worker.Ending("ok", wire.meta_text(job, "ok", text, done_at=1.0), wire.finished_json(text), exit_code=0)
    run(
        worker.settle(
            keys, job=job, lease=lease, end=ending, last_chunks=[chunk], next_lease=f"{lease}n", may_continue=False
        )
    )


if __name__ == "__main__":
    main()
