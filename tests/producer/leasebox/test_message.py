"""Is a wake-up made from the template what Celery really sends?"""

import json
from pathlib import Path
from typing import Any

from celery import Celery
from redis import Redis

from leasebox._message import template

JOB = "0190a1b2-0000-7000-8000-000000000001"
ARGS = 'python "12" lines ü'
KWARGS = "tenant=acme session=s-1"


def _sent(url: str, redis: Redis, queue: str) -> Any:
    app = Celery("t", broker=f"{url}?virtual_host=0", set_as_current=False)
    app.conf.update(task_default_queue=queue, broker_transport_options={"priority_steps": [0]})
    app.send_task(
        "leasebox.execute", [JOB], task_id=JOB, queue=queue, argsrepr=ARGS, kwargsrepr=KWARGS, origin="leasebox",
        ignore_result=True, reply_to="",
    )  # fmt: skip
    app.close()
    text = redis.rpop(queue)
    assert isinstance(text, bytes)
    return json.loads(text)


def test_a_filled_template_is_what_send_task_sends(redis_server: Any, redis: Redis, prefix: str):
    wake = template().fill(JOB, prefix, ARGS, KWARGS)
    ours = json.loads(wake.head + b"tag" + wake.tail)
    theirs = _sent(redis_server.url, redis, prefix)
    for message in (ours, theirs):
        del message["properties"]["delivery_tag"]
    # `send_task` copies the texts that it was given into the properties as well, where nobody reads them.
    for name in ("argsrepr", "kwargsrepr", "origin", "ignore_result"):
        theirs["properties"].pop(name, None)
    # Nobody waits for an answer, so ours names no queue for one.
    assert ours["properties"].pop("reply_to") == ""
    del theirs["properties"]["reply_to"]

    assert ours == theirs


def test_the_kept_template_is_the_made_one(tmp_path: Path):
    made = template(tmp_path)
    (kept,) = tmp_path.iterdir()

    assert made == template()
    assert json.loads(kept.read_text())["body"] == made.body
