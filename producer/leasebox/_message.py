"""How a wake-up message looks: made by Celery and kombu themselves, then filled in for each job.

The script that makes a job runnable pushes `head + delivery tag + tail`. Celery is imported only to make the
template (150 ms); it depends on nothing but the versions of Celery and kombu, so a short-lived program keeps it in a
file of its state folder. A golden test compares a filled one with what `send_task` really sends.
"""

import base64
import json
import os
import re
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from msgspec import Struct

from leasebox.contract.queues import TASK_NAME

_JOB = "0123job3210"
_QUEUE = "0123queue3210"
_ARGS = "0123args3210"
_KWARGS = "0123kwargs3210"
_TAG = "0123tag3210"
_BODY = '"body": null'
_MARKS = re.compile(f"({'|'.join((_JOB, _QUEUE, _ARGS, _KWARGS, _TAG, _BODY))})")
_MAKING = Lock()


class Wake(Struct, frozen=True):
    """The two halves of a wake-up around its delivery tag."""

    head: bytes
    tail: bytes


class Template(Struct, frozen=True):
    """A whole message whose variable parts are marks: `body` before its encoding, `envelope` around it."""

    body: str
    envelope: str
    is_base64: bool

    def fill(self, job: str, queue: str, args_text: str, kwargs_text: str) -> Wake:
        """Make the message of one job; the texts are what Flower shows instead of the arguments."""
        body = self.body.replace(_JOB, job)
        encoded = base64.b64encode(body.encode()).decode() if self.is_base64 else body
        values = {
            _JOB: job,
            _QUEUE: queue,
            _ARGS: _inner(args_text),
            _KWARGS: _inner(kwargs_text),
            _BODY: f'"body": {json.dumps(encoded)}',
        }
        head, tail = ("".join([values.get(piece, piece) for piece in half]) for half in _halves(self.envelope))
        return Wake(head.encode(), tail.encode())


@lru_cache(maxsize=4)
def _halves(envelope: str) -> tuple[list[str], list[str]]:
    """What stands before the delivery tag and what behind it, each cut at its marks."""
    pieces = _MARKS.split(envelope)
    tag = pieces.index(_TAG)
    return pieces[:tag], pieces[tag + 1 :]


def _inner(text: str) -> str:
    return json.dumps(text)[1:-1]


def template(cache_dir: Path | None = None) -> Template:
    """The template of the installed Celery, from `cache_dir` if it was made before; an unusable cache is passed by."""
    with _MAKING:
        return _template(cache_dir)


@lru_cache(maxsize=4)
def _template(cache_dir: Path | None) -> Template:
    if cache_dir is None:
        return _from_celery()
    path = cache_dir / f"wake-{version('celery')}-{version('kombu')}.json"
    with suppress(OSError, ValueError, TypeError):
        return Template(**json.loads(path.read_text()))
    made = _from_celery()
    with suppress(OSError):
        _keep(path, made)
    return made


def _keep(path: Path, made: Template) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"body": made.body, "envelope": made.envelope, "is_base64": made.is_base64}))
    partial.replace(path)


def _from_celery() -> Template:
    # `celery` itself is a lazy module that two threads cannot import at once.
    from celery.app.base import Celery
    from kombu.connection import Connection
    from kombu.serialization import dumps

    app = Celery("leasebox", set_as_current=False)
    amqp: Any = app.amqp
    task = amqp.as_task_v2(
        _JOB,
        TASK_NAME,
        args=[_JOB],
        kwargs={},
        argsrepr=_ARGS,
        kwargsrepr=_KWARGS,
        origin="leasebox",
        ignore_result=True,
    )
    content_type, content_encoding, body = dumps(task.body, "json")  # type: ignore[no-untyped-call]
    with Connection("memory://") as connection:  # type: ignore[no-untyped-call]
        channel = connection.default_channel
        message: dict[str, Any] = channel.prepare_message(
            "", 0, content_type, content_encoding, task.headers, {**task.properties, "delivery_mode": 2}
        )
        # What every virtual transport does to a message on its way out: body encoding, delivery tag and route.
        channel._inplace_augment_message(message, "", _QUEUE)
    properties = message["properties"]
    properties["delivery_tag"] = _TAG
    message["body"] = None
    return Template(body, json.dumps(message), properties["body_encoding"] == "base64")
